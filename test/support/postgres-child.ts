/**
 * A process of its own on a store in PostgreSQL, for tests that kill it: `postgres-child WHAT CONNECTION BODIES …`. It says how far it is, in
 * lines that are written at once.
 */
import { writeSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { SseError } from '../../lib/errors.ts'
import { openBodyFiles } from '../../lib/store/file/disk.ts'
import { openPostgresStore } from '../../lib/store/postgres/store.ts'
import type { ObjectCondition } from '../../lib/store/records.ts'
import { bodyOf, bucketOf, pattern, record } from './store.ts'

const [, , what = '', connection = '', bodies = ''] = process.argv
const say = (line: string): void => {
  writeSync(1, `${line}\n`)
}

const store = await openPostgresStore({
  connection: JSON.parse(connection),
  bodies: () => openBodyFiles(bodies),
  sweepEvery: 0,
  grace: 0,
  patience: 2000,
})
say(`opened ${store.id}`)

/** Leaves a body half written. */
const leave = async (): Promise<void> => {
  const body = await store.createBody()
  await new Promise(resolve => body.writable.write(pattern(200_000), resolve))
  say('left')
  await sleep(120_000)
}

/** Counts a number up ten times, which others count up too. */
const countUp = async (): Promise<void> => {
  const b = await bucketOf(store, 'b')
  for (let done = 0; done < 10;) {
    const before = await store.getObject(b.id, 'counter')
    const next = Number(before?.notes.parts ?? 0) + 1
    const body = await bodyOf(store, pattern(next % 2 === 0 ? 100_000 : 10, next))
    try {
      const condition: ObjectCondition = before === undefined ? { ifNoneMatch: '*' } : { revision: before.revision }
      await store.putObject(b, 'counter', record({ notes: { parts: next } }), body, condition)
      done++
    } catch (error) {
      if (!(error instanceof SseError && error.code === 'PreconditionFailed')) throw error
    }
  }
}

/** The same, four times at once. */
const count = async (): Promise<void> => {
  await Promise.all([1, 2, 3, 4].map(countUp))
  say('counted')
}

if (what === 'leave') await leave()
if (what === 'count') await count()
await store.close()
