/**
 * A check of a whole store: every row against its MAC, every body against the index, the index against itself, and every body that is there
 * against the index. It runs beside whatever uses the store: what looks wrong is looked at again, and is reported only where the row is
 * still the same. Nothing is changed, unless `repair` says so; an object or an upload is never changed or deleted.
 */
import { SseError } from '../errors.ts'
import type { BodyFile } from './body-store.ts'
import { pieceMissing } from './failure.ts'
import type { IndexFault, Orphan, StoreInspection } from './inspection.ts'
import type { Bucket } from './records.ts'
import type { ObjectStore, OpenedObject, UploadListing } from './store.ts'

/** Something that is not as it should be. */
export interface Finding {
  /**
   * `missing`, `size`: a body. `not-authentic`: a row whose MAC does not hold. `row`: a row that cannot be read. `unreadable`: an object that does not
   * open. `orphan`: a body that no row refers to. The others are of an {@link IndexFault}.
   */
  readonly what: IndexFault['what'] | 'missing' | 'size' | 'not-authentic' | 'unreadable' | 'orphan'
  /** Name of the bucket. */
  readonly bucket?: string | undefined
  /** Key of the object or the upload. */
  readonly key?: string | undefined
  /** Id of the upload. */
  readonly upload?: string | undefined
  /** Number of the part. */
  readonly part?: number | undefined
  /** Id of the body or the file. */
  readonly body?: string | undefined
  /** Says it in words. */
  readonly message: string
  /** Whether it was put right. */
  readonly mended: boolean
}

/** What was looked at. */
export interface CheckSummary {
  readonly buckets: number
  readonly objects: number
  /** Open uploads. */
  readonly uploads: number
  /** Attempts of their parts. */
  readonly parts: number
  /** Body files that are there; those that the index names where they were not listed. */
  readonly bodies: number
  /** Objects that were opened from the first to the last byte. */
  readonly opened: number
  /** Of those that were to be opened: objects under a customer's key. */
  readonly customerKeys: number
  /** Of those that were to be opened: objects whose master key is disabled or pending deletion. */
  readonly keysOff: number
}

/** A place in the order of a check. */
export interface CheckPlace {
  readonly bucket: string
  readonly key: string
}

/** How to check. */
export interface CheckOptions {
  /** Only this bucket, and neither the index as a whole nor bodies that nothing refers to. */
  readonly bucket?: string | undefined
  /** Only objects behind this one. */
  readonly startAfter?: CheckPlace | undefined
  /** Whether to put right what can be without losing anything. Default `false`. */
  readonly repair?: boolean | undefined
  /**
   * Opens an object and reads all of it. Answers `false` where it is under a customer's key. Rejects where it does not open. Left out: objects are not
   * opened.
   */
  readonly open?: ((bucket: Bucket, key: string, object: OpenedObject) => Promise<boolean>) | undefined
  /** Told of each fault as it is found. */
  readonly onFinding: (finding: Finding) => void
  /** Told of each object that was looked at, with all before it. */
  readonly onProgress?: ((place: CheckPlace, summary: CheckSummary) => void) | undefined
  /** Aborted to stop: the check rejects with an `AbortError`. */
  readonly signal?: AbortSignal | undefined
}

// Objects that are looked at at a time, and such that are read.
const lookedAt = 16
const openedAt = 4

// Of a row that changes each time it is looked at: it is alive.
const looks = 5

type Place = Pick<Finding, 'bucket' | 'key' | 'upload'>
type Fault = Omit<Finding, 'mended' | 'bucket' | 'key' | 'upload'>

const codeOf = (error: unknown): string | undefined => (error instanceof SseError ? error.code : undefined)

const gone = new Set<string | undefined>(['NoSuchBucket', 'NoSuchKey', 'NoSuchUpload'])
const passing = new Set<string | undefined>(['KmsUnavailable', 'KmsThrottled', 'StoreUnavailable', 'StoreBusy'])
const off = new Set<string | undefined>(['KeyDisabled', 'KeyPendingDeletion'])

const notAuthentic = (what: string): Fault => ({
  what: 'not-authentic',
  message: `${what} was changed by somebody without the index key; restore it from a backup`,
})

const slices = function* <T>(all: readonly T[], size: number): Generator<readonly T[]> {
  for (let at = 0; at < all.length; at += size) yield all.slice(at, at + size)
}

/** What is wrong with a file. */
const fileFault = (file: BodyFile, held: number | undefined): Fault | undefined => {
  const { id, size } = file
  if (held === size) return undefined
  return held === undefined
    ? { what: 'missing', body: id, message: `its body file ${id} is missing` }
    : { what: 'size', body: id, message: `its body file ${id} has ${held} bytes, and the index says ${size}` }
}

/** A check that runs. */
class Check {
  readonly #store: ObjectStore
  readonly #inspection: StoreInspection
  readonly #options: CheckOptions
  readonly #counts = {
    buckets: 0,
    objects: 0,
    uploads: 0,
    parts: 0,
    bodies: 0,
    opened: 0,
    customerKeys: 0,
    keysOff: 0,
  }

  constructor(store: ObjectStore, options: CheckOptions) {
    this.#store = store
    this.#inspection = store.inspect()
    this.#options = options
  }

  async run(): Promise<CheckSummary> {
    const { bucket: only, startAfter } = this.#options
    const buckets = await this.#store.listBuckets()
    const wanted = buckets.filter(({ name }) => only === undefined || name === only)
    if (only !== undefined && wanted.length === 0) throw new SseError('NoSuchBucket')
    const first = Buffer.from(startAfter?.bucket ?? '')
    for (const bucket of wanted) {
      if (Buffer.compare(Buffer.from(bucket.name), first) < 0) continue
      await this.#bucket(bucket, bucket.name === startAfter?.bucket ? startAfter.key : undefined)
    }
    if (only === undefined) await this.#wholeStore()
    return this.#counts
  }

  #assertGoing(): void {
    this.#options.signal?.throwIfAborted()
  }

  #report(place: Place, faults: readonly Fault[]): void {
    for (const fault of faults) this.#options.onFinding({ ...place, ...fault, mended: false })
  }

  async #bucket(bucket: Bucket, after: string | undefined): Promise<void> {
    this.#counts.buckets++
    const { name, id } = bucket
    await this.#authentic({ bucket: name }, 'the bucket', () => this.#store.getBucket(name))
    const size = this.#options.open === undefined ? lookedAt : openedAt
    let next = after
    for (let truncated = true; truncated;) {
      const page = await this.#store.listObjects(id, { after: next, limit: 1000 }).catch(orGone)
      if (page === undefined) return
      for (const some of slices(page.entries, size)) {
        this.#assertGoing()
        await Promise.all(some.map(({ key }) => this.#object(bucket, key)))
        const last = some.at(-1)
        if (last !== undefined) this.#options.onProgress?.({ bucket: name, key: last.key }, this.#counts)
      }
      ;({ truncated, next } = page)
    }
    await this.#uploads(bucket)
  }

  /** What a row says, where it is there and authentic; reports that it is not. */
  async #authentic<T>(place: Place, what: string, read: () => Promise<T | undefined>): Promise<T | undefined> {
    try {
      return await read()
    } catch (error) {
      if (gone.has(codeOf(error))) return undefined
      if (codeOf(error) === 'IndexNotAuthentic') this.#report(place, [notAuthentic(what)])
      else if (codeOf(error) === 'StoreFailed') this.#report(place, [{ what: 'row', message: messageOf(error) }])
      else throw error
      return undefined
    }
  }

  async #object(bucket: Bucket, key: string): Promise<void> {
    this.#counts.objects++
    const place = { bucket: bucket.name, key }
    const record = await this.#authentic(place, 'the object', () => this.#store.getObject(bucket.id, key))
    if (record === undefined) return
    const faults = await this.#authentic(place, 'the object', () => this.#bodyFaults(bucket.id, key))
    this.#report(place, faults ?? [])
    if (faults?.length === 0) await this.#open(bucket, key)
  }

  async #bodyFaults(bucketId: string, key: string): Promise<readonly Fault[]> {
    const inspection = this.#inspection
    let before: string | undefined
    for (let look = 0; look < looks; look++) {
      const body = await inspection.body(bucketId, key)
      if (body === undefined) return []
      const { revision, size, inline, files } = body
      const faults = await this.#fileFaults(files)
      const total = files.reduce((sum, file) => sum + file.size, inline ?? 0)
      if (total !== size) {
        faults.push({
          what: 'size',
          message: `the index has ${total} bytes of its body, and says that they are ${size}`,
        })
      }
      if (faults.length === 0 || before === revision) {
        this.#counts.bodies += files.length
        return faults
      }
      before = revision
    }
    return []
  }

  async #fileFaults(files: readonly BodyFile[]): Promise<Fault[]> {
    const faults: Fault[] = []
    for (const some of slices(files, lookedAt)) {
      const found = await Promise.all(some.map(({ id }) => this.#inspection.sizeOf(id)))
      faults.push(...some.flatMap((file, i) => fileFault(file, found[i]) ?? []))
    }
    return faults
  }

  /** Opens an object, and looks at it again where that fails: another one may lie there by now. */
  async #open(bucket: Bucket, key: string): Promise<void> {
    const { open } = this.#options
    if (open === undefined) return
    let before: string | undefined
    for (let look = 0; look < looks; look++) {
      this.#assertGoing()
      const opened = await this.#store.openObject(bucket.id, key).catch(orGone)
      if (opened === undefined) return
      try {
        if (await open(bucket, key, opened)) this.#counts.opened++
        else this.#counts.customerKeys++
        return
      } catch (error) {
        this.#assertGoing()
        const code = codeOf(error)
        if (code === undefined || passing.has(code)) throw error
        if (off.has(code)) {
          this.#counts.keysOff++
          return
        }
        if (before === opened.record.revision) {
          const message = `it cannot be opened: ${code}: ${messageOf(error)}`
          this.#report({ bucket: bucket.name, key }, [{ what: 'unreadable', message }])
          return
        }
        before = opened.record.revision
      } finally {
        await opened.body.close()
      }
    }
  }

  async #uploads({ name, id }: Bucket): Promise<void> {
    let next: { readonly keyAfter?: string | undefined; readonly idAfter?: string | undefined } | undefined = {}
    while (next !== undefined) {
      this.#assertGoing()
      const page: UploadListing | undefined = await this.#store.listUploads(id, { ...next, limit: 1000 }).catch(orGone)
      for (const { key, id: upload } of page?.uploads ?? []) {
        const place = { bucket: name, key, upload }
        this.#counts.uploads++
        await this.#authentic(place, 'the upload', () => this.#store.getUpload(id, key, upload))
        await this.#authentic(place, 'the upload', () => this.#parts(id, place))
      }
      next = page?.next
    }
  }

  async #parts(bucketId: string, place: { bucket: string; key: string; upload: string }): Promise<undefined> {
    const inspection = this.#inspection
    const read = () => inspection.parts(bucketId, place.key, place.upload)
    const parts = await read()
    this.#counts.parts += parts.length
    this.#counts.bodies += parts.length
    for (const some of slices(parts, lookedAt)) {
      this.#assertGoing()
      const found = await Promise.all(some.map(({ file }) => inspection.sizeOf(file.id)))
      const wrong = some.flatMap(({ number, file }, i) => {
        const fault = fileFault(file, found[i])
        return fault === undefined ? [] : [{ ...fault, part: number }]
      })
      if (wrong.length === 0) continue
      const still = new Set((await read()).map(({ file }) => file.id))
      this.#report(
        place,
        wrong.filter(({ body = '' }) => still.has(body)),
      )
    }
  }

  async #wholeStore(): Promise<void> {
    const { repair: mend = false, onFinding } = this.#options
    this.#assertGoing()
    await this.#authentic({}, 'one of the claims of the store', () => this.#store.claims())
    const faults = await this.#inspection.indexFaults({ mend })
    for (const { id, ...fault } of faults) onFinding({ ...fault, body: id })
    const told = new Set(faults.filter(({ mended }) => !mended).map(({ id }) => id))
    let bodies = 0
    const orphans: Orphan[] = []
    for await (const page of this.#inspection.orphans()) {
      this.#assertGoing()
      bodies += page.examined
      orphans.push(...page.orphans.filter(({ id }) => !told.has(id)))
    }
    this.#counts.bodies = bodies
    const refused = mend && orphans.length > 0 ? await this.#sweep() : undefined
    for (const { id, size } of orphans) {
      const isGone = mend && refused === undefined && (size === undefined || (await this.#isGone(id)))
      const message =
        size === undefined
          ? `the body ${id} was begun and is nobody's`
          : `no row refers to the body file ${id} of ${size} bytes`
      onFinding({ what: 'orphan', body: id, message, mended: isGone })
    }
    if (refused !== undefined) throw refused
  }

  async #isGone(id: string): Promise<boolean> {
    return (await this.#inspection.sizeOf(id)) === undefined
  }

  // It has its own safety: where so much would go that the index may be the wrong one, nothing goes.
  async #sweep(): Promise<unknown> {
    try {
      await this.#store.sweep()
      return undefined
    } catch (error) {
      return error
    }
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

const orGone = (error: unknown): undefined => {
  if (!gone.has(codeOf(error)) && !isRead(error)) throw error
  return undefined
}

// The row was looked at a moment ago, so it was changed or deleted meanwhile.
const isRead = (error: unknown): boolean => error instanceof SseError && error.message === pieceMissing().message

/** Checks a store: one whose rows carry a MAC is given as `authenticated` makes it. Rejects where the store cannot be reached. */
export const checkStore = (store: ObjectStore, options: CheckOptions): Promise<CheckSummary> =>
  new Check(store, options).run()
