/**
 * A process of its own on a store, for tests that kill it: `store-child WHAT DIRECTORY …`. It says on its standard output how far it is,
 * in lines that are written at once.
 */
import { writeSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { join } from 'node:path'
import { open as openLmdb } from 'lmdb'
import { SseError } from '../../lib/errors.ts'
import { mostHandles } from '../../lib/store/body-reader.ts'
import { openFileStore } from '../../lib/store/file/store.ts'
import type { ObjectCondition, ObjectNotes } from '../../lib/store/records.ts'
import { bodyOf, bucketOf, get, part, pattern, put, record, upload } from './store.ts'

const [, , what = '', directory = '', name = '', seed = '0'] = process.argv
const say = (...words: readonly (string | number)[]): void => {
  writeSync(1, words.join(' ') + '\n')
}

const store = await openFileStore(directory, { sweepEvery: what === 'change' ? 20 : 0, grace: 0 })
const b = await bucketOf(store, 'b')

/** Leaves a body half written, and another one of many files open. */
const leave = async (): Promise<void> => {
  const body = await store.createBody()
  await new Promise(resolve => body.writable.write(pattern(200_000), resolve))
  await store.createUpload(b, 'many', upload('many'))
  const attempts = Array.from({ length: mostHandles + 1 }, (_, i) => String(i))
  for (const attempt of attempts) {
    await store.putPart(b, 'many', 'many', part(1, attempt), await bodyOf(store, pattern(9)))
  }
  await store.completeUpload(b, 'many', 'many', { token: 't', attempts, record: record() })
  await store.openObject(b.id, 'many')
  say('left')
}

const sizes = [0, 700, 65_536, 65_537, 150_000, 400_000]

/**
 * One key, changed again and again, as fast as it goes: by puts, copies, uploads and deletes. Says what the key is about to become and
 * what it has become: `begin KEY SEQUENCE SIZE`, `done KEY SEQUENCE`, size -1 for nothing.
 */
const lane = async (key: string, first: number): Promise<void> => {
  for (let sequence = first; ; sequence++) {
    const size = sequence % 7 === 6 ? -1 : (sizes[(sequence * 5) % 6] ?? 0)
    const bytes = pattern(Math.max(size, 0), sequence)
    const notes: ObjectNotes = { tags: [['sequence', String(sequence)]] }
    say('begin', key, sequence, size)
    if (size < 0) await store.deleteObject(b, key)
    else if (sequence % 5 === 1) {
      const id = `${name}-${key}-${sequence}`
      await store.createUpload(b, key, upload(id))
      const halves = [bytes.subarray(0, size >> 1), bytes.subarray(0, 3), bytes.subarray(size >> 1)]
      await Promise.all(
        halves.map(async (half, i) => store.putPart(b, key, id, part(i, String(i)), await bodyOf(store, half))),
      )
      await store.completeUpload(b, key, id, {
        token: id,
        attempts: ['0', '2'],
        record: record({ size, notes }),
      })
    } else if (sequence % 5 === 2) {
      const revision = await put(store, b, `${key}-source`, bytes)
      const source = { bucketId: b.id, key: `${key}-source`, revision }
      await store.copyObject(source, b, key, record({ size, notes }))
    } else await put(store, b, key, bytes, { notes })
    say('done', key, sequence)
  }
}

/** A number that all processes count up together: `counted` for each step that is there to stay. */
const count = async (): Promise<void> => {
  for (;;) {
    const before = await store.getObject(b.id, 'counter')
    const next = Number(before?.notes.parts ?? 0) + 1
    const body = await bodyOf(store, pattern(next % 2 === 0 ? 100_000 : 10, next))
    try {
      const condition: ObjectCondition = before === undefined ? { ifNoneMatch: '*' } : { revision: before.revision }
      await store.putObject(b, 'counter', record({ notes: { parts: next } }), body, condition)
      say('counted')
    } catch (error) {
      if (!(error instanceof SseError && error.code === 'PreconditionFailed')) throw error
    }
  }
}

/** Fills the disk with bodies of a size until it is full, and says what then is left: `full CODE`, `old true`. */
const fill = async (size: number): Promise<void> => {
  const old = pattern(300_000)
  await put(store, b, 'old', old)
  try {
    for (let i = 0; i < 1000; i++) await put(store, b, `new${i}`, pattern(size, i))
  } catch (error) {
    say('full', error instanceof SseError ? error.code : String(error))
  }
  await bodyOf(store, pattern(30_000_000)).catch((error: unknown) =>
    say('huge', error instanceof SseError ? error.code : ''),
  )
  await put(store, b, 'old', pattern(30_000_000)).catch(() => {})
  say('old', String((await get(store, b, 'old'))?.equals(old)))
}

/** Stops itself in the middle of a change: whoever continues it hears of the rest. */
const stop = async (): Promise<void> => {
  const index = openLmdb({ path: join(directory, 'index'), overlappingSync: false, maxDbs: 24 })
  index.transactionSync(() => {
    say('stopping')
    process.kill(process.pid, 'SIGSTOP')
  })
  say('continued')
  await index.close()
}

if (what === 'leave') await leave()
if (what === 'stop') await stop()
if (what === 'fill') await fill(Number(name))
if (what === 'change') {
  await Promise.all([count(), ...[0, 1, 2].map(i => lane(`${name}-${i}`, Number(seed)))])
}
if (what === 'fill') await store.close()
else await sleep(60_000)
