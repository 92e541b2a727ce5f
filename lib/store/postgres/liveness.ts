/**
 * Which processes use the store, by what they say themselves: each says at regular times that it is there, and notes for how long it has seen
 * the others say nothing. Time counts only between two looks that succeeded one after the other, so after an outage of the database nobody is
 * gone. The time of the heartbeats is the database's.
 */
import { hostname } from 'node:os'
import { newId } from '../names.ts'
import { type Postgres, statement } from './connection.ts'

/** Names a process that uses the store. */
export interface ProcessName {
  /** Random. */
  readonly id: string
  /** For people: machine and number. */
  readonly name: string
}

/** Names this process, once for each store that it opens. */
export const nameProcess = (): ProcessName => ({ id: newId(), name: `${hostname()}:${process.pid}` })

/** That this process is there, and which others are not any more. */
export interface Liveness {
  /** Forgets the processes that are gone: they say nothing any more. */
  forgetGone(): Promise<void>
  /** Ends it: this process is gone. */
  close(): Promise<void>
}

const say = statement(`
  WITH incarnation AS (INSERT INTO incarnation (id) VALUES (gen_random_uuid()) ON CONFLICT DO NOTHING)
  INSERT INTO process (id, name, heartbeat) VALUES ($1, $2, clock_timestamp())
  ON CONFLICT (id) DO UPDATE SET heartbeat = clock_timestamp()`)
const others = statement('SELECT id, heartbeat::text AS heartbeat FROM process WHERE id <> $1')
// One that has said something since it was looked at stays.
const forget = statement('DELETE FROM process WHERE id = $1 AND heartbeat::text = $2')
const leave = statement('DELETE FROM process WHERE id = $1')

interface Seen {
  readonly heartbeat: string
  /** Milliseconds for which it was seen to say nothing. */
  readonly silent: number
}

/** Begins it. `patience`: milliseconds of silence after which a process is gone. `onBeat` is called each time that the database answers. */
export const openLiveness = async (
  database: Postgres,
  { id, name }: ProcessName,
  patience: number,
  onBeat: () => Promise<void>,
): Promise<Liveness> => {
  const every = Math.max(patience / 20, 1)
  let seen: ReadonlyMap<string, Seen> = new Map()
  let lastLook: number | undefined

  const look = async (): Promise<void> => {
    const rows = await database.aside<{ id: string; heartbeat: string }>(others, id)
    const now = performance.now()
    const passed = lastLook === undefined || now - lastLook > 3 * every ? 0 : now - lastLook
    lastLook = now
    seen = new Map(
      rows.map(({ id, heartbeat }) => {
        const before = seen.get(id)
        const silent = before?.heartbeat === heartbeat ? before.silent + passed : 0
        return [id, { heartbeat, silent }]
      }),
    )
  }
  const beat = async (): Promise<void> => {
    try {
      await database.aside(say, id, name)
      await look()
      await onBeat()
    } catch (error) {
      lastLook = undefined
      throw error
    }
  }

  await beat()
  let beating: Promise<void> = Promise.resolve()
  let isBusy = false
  const timer = setInterval(() => {
    if (isBusy) return
    isBusy = true
    beating = beat()
      .catch(() => {}) // the next one tries again
      .finally(() => {
        isBusy = false
      })
  }, every).unref()

  return {
    forgetGone: async () => {
      for (const [other, { heartbeat, silent }] of seen) {
        if (silent >= patience) await database.aside(forget, other, heartbeat)
      }
    },
    close: async () => {
      clearInterval(timer)
      await beating
      await database.aside(leave, id).catch(() => {})
    },
  }
}
