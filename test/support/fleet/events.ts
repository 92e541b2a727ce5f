/** The catastrophes of a fleet: a load, something that goes wrong, and what clients saw. Afterwards every acknowledged object must be whole. */
import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { createCipheriv, createHash, type Hash } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { bucket, kinds, type Kind, Load, type LoadOptions, type Outcome } from './load.ts'
import type { Fleet } from './parts.ts'

interface Event {
  readonly about: string
  /** Results that a client may get beside 200. */
  readonly allowed: RegExp
  /** Makes it wrong; resolves when it is right again. `seconds`: how long it is to last where that can be chosen. */
  run(fleet: Fleet, seconds: number): Promise<void>
}

const passing = /^(503( ServiceUnavailable| SlowDown)?|broken)$/

/** All events, by their names. */
export const events = {
  'gateway killed': {
    about: 'one of the gateways is killed with SIGKILL, and started again',
    // haproxy says 502 where a gateway is gone in the middle of an answer.
    allowed: /^(50[234]( \w+)?|broken)$/,
    run: async ({ gateways: [first] }, seconds) => {
      await first?.kill()
      await pause(seconds * 1000)
      await first?.start()
    },
  },
  'database restarted': {
    about: 'PostgreSQL is killed with SIGKILL, all of its processes at once, and started again',
    allowed: passing,
    run: async ({ postgres }) => {
      await postgres.kill()
      await postgres.start()
    },
  },
  'upstream restarted': {
    about: "the S3 service with the bodies, Ceph's gateway, is killed with SIGKILL, and started again",
    allowed: passing,
    run: async ({ upstream }) => {
      await upstream.kill()
      await upstream.start()
    },
  },
  'key manager stopped': {
    about: 'PyKMIP is stopped with SIGSTOP: it takes connections and answers nothing',
    allowed: passing,
    run: async ({ kms }, seconds) => {
      kms.pause()
      await pause(seconds * 1000)
      kms.resume()
    },
  },
} as const satisfies Readonly<Record<string, Event>>

/** Name of an event. */
export type EventName = keyof typeof events
/** All names, in their order. */
export const eventNames: readonly EventName[] = [
  'gateway killed',
  'database restarted',
  'upstream restarted',
  'key manager stopped',
]

/** Requests of a kind while it was wrong, and until all was well. */
export interface KindReport {
  readonly results: Readonly<Record<string, number>>
  /** Milliseconds. */
  readonly median: number
  readonly slowest: number
}

/** What became of the upload in parts. */
export interface UploadReport {
  readonly bytes: number
  readonly parts: number
  /** Requests that were sent again. */
  readonly again: number
  readonly seconds: number
  readonly whole: boolean
}

/** What an event did. */
export interface EventReport {
  readonly event: EventName
  readonly about: string
  /** Seconds that it was wrong. */
  readonly seconds: number
  readonly during: Readonly<Record<Kind, KindReport>>
  /** The longest time in seconds in which no request succeeded. */
  readonly silence: number
  /** Seconds from the end of the fault to the end of the last request that failed; 0 where none did. */
  readonly recovered: number
  /** Objects that were acknowledged and read afterwards. */
  readonly objects: number
  readonly upload?: UploadReport | undefined
  /** What must not be. */
  readonly problems: readonly string[]
}

const kindReport = (outcomes: readonly Outcome[]): KindReport => {
  const results: Record<string, number> = {}
  for (const { result } of outcomes) results[result] = (results[result] ?? 0) + 1
  const times = outcomes.map(({ began, ended }) => ended - began).sort((a, b) => a - b)
  return { results, median: Math.round(times[times.length >> 1] ?? 0), slowest: Math.round(times.at(-1) ?? 0) }
}

const partSize = 16 * 1_048_576

// A part is a key stream: cheap, and no two bytes of it are the same by chance.
const partOf = (number: number, size: number): Buffer =>
  createCipheriv('aes-128-ctr', Buffer.alloc(16, number), Buffer.alloc(16)).update(Buffer.alloc(size))

/** Uploads so many bytes in parts, four at a time, each of which is sent again until it is taken; reads it back. */
export const upload = async (fleet: Fleet, bytes: number): Promise<UploadReport> => {
  const s3 = fleet.client()
  const named = { Bucket: bucket, Key: 'upload' }
  const began = performance.now()
  let again = 0
  const insist = async <T>(work: () => Promise<T>): Promise<T> => {
    for (let i = 0; ; i++) {
      try {
        return await work()
      } catch (error) {
        if (i === 200) throw error
        again++
        await pause(250)
      }
    }
  }
  const { UploadId } = await insist(() =>
    s3.send(new CreateMultipartUploadCommand({ ...named, ServerSideEncryption: 'aws:kms' })),
  )
  const count = Math.ceil(bytes / partSize)
  const sizeOf = (number: number): number => Math.min(partSize, bytes - (number - 1) * partSize)
  const Parts: { PartNumber: number; ETag: string | undefined }[] = []
  const sent = createHash('sha256')
  let next = 1
  const lane = async (): Promise<void> => {
    for (let PartNumber = next++; PartNumber <= count; PartNumber = next++) {
      const Body = partOf(PartNumber, sizeOf(PartNumber))
      sent.update(Body) // in order: nothing waits between a number and its part
      const { ETag } = await insist(() => s3.send(new UploadPartCommand({ ...named, UploadId, PartNumber, Body })))
      Parts[PartNumber - 1] = { PartNumber, ETag }
    }
  }
  await Promise.all(Array.from({ length: 4 }, lane))
  await insist(() => s3.send(new CompleteMultipartUploadCommand({ ...named, UploadId, MultipartUpload: { Parts } })))
  const got = await insist(async (): Promise<Hash> => {
    const { Body } = await s3.send(new GetObjectCommand(named))
    const hash = createHash('sha256')
    for await (const chunk of Body?.transformToWebStream() ?? []) hash.update(chunk)
    return hash
  })
  return {
    ...{ bytes, parts: count, again },
    seconds: (performance.now() - began) / 1000,
    whole: got.digest('hex') === sent.digest('hex'),
  }
}

/** How an event is run. */
export interface EventOptions {
  /** Seconds that it lasts, where that can be chosen. */
  readonly seconds: number
  /** Bytes that are uploaded in parts meanwhile; 0 for none. */
  readonly uploadBytes: number
  readonly load?: LoadOptions | undefined
  readonly progress?: ((line: string) => void) | undefined
}

const inShort = (problems: readonly string[]): readonly string[] =>
  problems.length <= 5 ? problems : [...problems.slice(0, 5), `and ${problems.length - 5} more`]

/** Runs one event on a fleet whose bucket is there. */
export const runEvent = async (fleet: Fleet, name: EventName, options: EventOptions): Promise<EventReport> => {
  const { seconds, uploadBytes, progress = () => undefined } = options
  const say = (line: string): void => progress(`${name}: ${line}`)
  const { about, allowed, run }: Event = events[name]
  const load = new Load(fleet.client(), options.load)
  const running = load.run()
  say('the load runs')
  await pause(Math.min(5000, seconds * 500))
  const uploading = uploadBytes > 0 ? upload(fleet, uploadBytes) : undefined
  uploading?.catch(() => {})
  if (uploading !== undefined) await pause(2000)
  const start = performance.now()
  say(about)
  await run(fleet, seconds)
  const end = performance.now()
  say('all is well again')
  const uploaded = await uploading
  await pause(Math.max(5000, seconds * 500))
  load.stop()
  await running
  say(`reads ${load.objects} objects`)
  const wrong = await load.verify()

  const touched = load.outcomes.filter(({ ended }) => ended >= start)
  const bad = touched.filter(({ result }) => result !== '200')
  const last = Math.max(end, ...bad.map(({ ended }) => ended))
  const good = [start, ...touched.filter(({ result }) => result === '200').map(({ ended }) => ended)].sort(
    (a, b) => a - b,
  )
  const silence = Math.max(...good.map((time, i) => (good[i + 1] ?? time) - time))
  const during = touched.filter(({ began }) => began <= last)
  const byKind = (kind: Kind): KindReport => kindReport(during.filter(outcome => outcome.kind === kind))
  const odd = load.outcomes.filter(({ result, ended }) => result !== '200' && (ended < start || !allowed.test(result)))
  return {
    ...{ event: name, about, seconds: (end - start) / 1000 },
    during: { PUT: byKind('PUT'), GET: byKind('GET') },
    silence: silence / 1000,
    recovered: (last - end) / 1000,
    objects: load.objects,
    upload: uploaded,
    problems: [
      ...inShort(wrong),
      ...inShort(odd.map(({ kind, result }) => `${kind}: ${result}`)),
      ...(uploaded?.whole === false ? ['the upload came back with other bytes'] : []),
      ...(kinds.some(kind => !touched.some(outcome => outcome.kind === kind && outcome.began > last))
        ? ['it has not recovered']
        : []),
    ],
  }
}
