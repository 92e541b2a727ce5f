/**
 * Connections to PostgreSQL, and the two ways to use them. A pool serves requests; a small one beside it serves what must not wait for them:
 * heartbeats, the sweep, and the question what became of a commit. Only here `pg` is imported, an optional peer.
 *
 * A connection that dies in a commit leaves an unknown outcome. So every change knows the id of its transaction, and asks for its status
 * afterwards, on another connection. Where nobody can say, the change is neither repeated nor answered as done.
 */
import { setTimeout as wait } from 'node:timers/promises'
import { Pool, type PoolClient, type PoolConfig, types } from 'pg'
import { SseError } from '../../errors.ts'
import { isLost, isPassing, storeError } from './failure.ts'

/** Where the database is, as `pg` takes it. What is left out comes from `PGHOST` and the like. */
export interface PostgresConnection {
  /** `postgres://USER:PASSWORD@HOST:PORT/DATABASE`; it counts where fields say something else. */
  readonly connectionString?: string | undefined
  /** Name or address of the server, or the folder of its socket. */
  readonly host?: string | undefined
  /** Its port. */
  readonly port?: number | undefined
  /** Name of the database. Its tables are made in the first schema of the role's search path. */
  readonly database?: string | undefined
  /** The role. */
  readonly user?: string | undefined
  /** Its password, or what answers it each time a connection is made. */
  readonly password?: string | (() => string | Promise<string>) | undefined
  /** TLS: `true`, or the certificates to trust and to show, in PEM. */
  readonly ssl?:
    | boolean
    | {
        /** Certificates to trust, instead of those that Node trusts. */
        readonly ca?: string | undefined
        /** Certificate of this program. */
        readonly cert?: string | undefined
        /** Its private key. */
        readonly key?: string | undefined
        /** Name in the server's certificate, where it is not the host. */
        readonly servername?: string | undefined
      }
    | undefined
}

/** How to use it. */
export interface PostgresBounds {
  /** Connections for requests, at most. */
  readonly connections: number
  /** Milliseconds that a request may wait for a connection, and for each statement. */
  readonly deadline: number
}

/** A statement that is prepared once on each connection. */
export interface Statement {
  readonly name: string
  readonly text: string
}

let statements = 0

/** Makes one. */
export const statement = (text: string): Statement => ({ name: `sse_kms_${++statements}`, text })

/** What a statement is given. */
export type Value = string | number | boolean | null | undefined | Uint8Array | readonly string[]

/** Takes statements one after the other. */
export interface Session {
  /** Runs one; answers its rows. */
  query<Row extends object>(statement: Statement, ...values: readonly Value[]): Promise<readonly Row[]>
}

// Numbers of 64 bits are sizes and times, and bytes are memory of their own.
const parsers: Readonly<Record<number, (text: string) => unknown>> = {
  20: Number,
  17: text => {
    const bytes = Buffer.allocUnsafeSlow((text.length - 2) / 2)
    bytes.write(text.slice(2), 'hex')
    return bytes
  },
}
const getTypeParser = (oid: number, format?: 'text' | 'binary'): unknown =>
  format !== 'binary' && oid in parsers ? parsers[oid] : types.getTypeParser(oid, format)

// The isolation that the code is written for, whatever the role's default is.
const begin = 'BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE'
const named = `${begin}; SELECT pg_current_xact_id()::text AS id, (SELECT id FROM incarnation)::text AS incarnation`
const statusOf = statement(
  'SELECT pg_xact_status($1::xid8) AS status, (SELECT id FROM incarnation)::text AS incarnation',
)
// A transaction whose client is gone would keep its locks until the server notices that. One that waits for a standby is left alone.
const endForsaken = statement(
  "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_xid = $1::xid8::xid AND state LIKE 'idle in transaction%'",
)

/** Times that a change is tried which a deadlock or a lost connection undid. */
const attempts = 5

/** Milliseconds for which it is asked at most what became of a commit. */
const askFor = 10_000

/**
 * A transaction by its number. A server that crashes forgets the numbers of transactions of which nothing is on its disk and gives them out
 * again, so a number means something only within one incarnation of the server: the row of an unlogged table, which a crash empties.
 */
interface TransactionName {
  readonly id: string
  readonly incarnation: string | null
}

const sessionOf = (client: Pick<PoolClient, 'query'>): Session => ({
  query: async <Row extends object>({ name, text }: Statement, ...values: readonly Value[]) =>
    (await client.query<Row>({ name, text, values: [...values] })).rows,
})

const openPool = (connection: PostgresConnection, max: number, deadline: number): Pool => {
  const config: PoolConfig = {
    ...connection,
    max,
    connectionTimeoutMillis: deadline,
    statement_timeout: deadline,
    idle_in_transaction_session_timeout: deadline,
    query_timeout: deadline + 5000, // of a server that does not answer at all
    keepAlive: true,
    application_name: 'sse-kms',
    types: { getTypeParser },
  }
  const pool = new Pool(config)
  // A connection that breaks fails the statement that runs on it; an idle one just leaves the pool.
  pool.on('error', () => {})
  pool.on('connect', client => client.on('error', () => {}))
  return pool
}

const unknownOutcome = (): SseError =>
  new SseError('StoreUnavailable', {
    message:
      'The database was lost while it committed, and nobody knows whether the change happened. Look, then try again.',
  })

/** The database. */
export class Postgres {
  readonly #pool: Pool
  readonly #aside: Pool
  readonly #deadline: number
  readonly #undecided = new WeakSet<object>()

  /** Connects when it is first used. */
  constructor(connection: PostgresConnection, { connections, deadline }: PostgresBounds) {
    this.#deadline = deadline
    this.#pool = openPool(connection, connections, deadline)
    this.#aside = openPool(connection, 4, deadline)
  }

  /** Runs one statement that changes nothing, and tries again where its connection was lost. */
  read<Row extends object>(statement: Statement, ...values: readonly Value[]): Promise<readonly Row[]> {
    return this.#retry(async () => sessionOf(this.#pool).query<Row>(statement, ...values))
  }

  /** Runs one statement that stands for itself, beside the requests. */
  async aside<Row extends object>(statement: Statement, ...values: readonly Value[]): Promise<readonly Row[]> {
    try {
      return await sessionOf(this.#aside).query<Row>(statement, ...values)
    } catch (error) {
      throw storeError(error)
    }
  }

  /**
   * Runs an action as one change: committed when the promise resolves, undone in full when the action throws. It may be run several times, so it
   * does nothing but what its session does. Where it is unknown whether it happened, `mayHaveHappened` knows the error.
   */
  change<T>(action: (session: Session) => Promise<T>): Promise<T> {
    return this.#retry(() => this.#change(this.#pool, action))
  }

  /** The same beside the requests, such as the work of a sweep. */
  changeAside<T>(action: (session: Session) => Promise<T>): Promise<T> {
    return this.#retry(() => this.#change(this.#aside, action))
  }

  /** The same for the tables themselves, which may not be there yet. What becomes of a commit that is lost cannot be asked. */
  changeTables<T>(action: (session: Session) => Promise<T>): Promise<T> {
    return this.#retry(() => this.#change(this.#aside, action, begin))
  }

  /** Whether a change that failed with this error may have happened all the same. */
  mayHaveHappened(error: unknown): boolean {
    return typeof error === 'object' && error !== null && this.#undecided.has(error)
  }

  /** Runs work while this process alone holds a lock; `undefined`, and no work, where another one has it. */
  async whileAlone<T>(lock: string, work: () => Promise<T>): Promise<T | undefined> {
    const client = await this.#aside.connect().catch((error: unknown) => {
      throw storeError(error)
    })
    const session = sessionOf(client)
    let isHeld = false
    try {
      const [row] = await session.query<{ held: boolean }>(tryLock, lock).catch((error: unknown) => {
        throw storeError(error)
      })
      isHeld = row?.held === true
      return isHeld ? await work() : undefined
    } finally {
      // A connection that ends gives its lock back.
      client.release(isHeld)
    }
  }

  /** Waits for what is under way, and lets go of all connections. */
  async close(): Promise<void> {
    await this.#pool.end()
    await this.#aside.end()
  }

  async #retry<T>(work: () => Promise<T>): Promise<T> {
    const end = performance.now() + this.#deadline
    for (let attempt = 1; ; attempt++) {
      try {
        return await work()
      } catch (error) {
        if (attempt === attempts || !isPassing(error) || performance.now() > end) throw storeError(error)
        await wait(20 * attempt + Math.random() * 50)
      }
    }
  }

  async #change<T>(pool: Pool, action: (session: Session) => Promise<T>, first = named): Promise<T> {
    const client = await pool.connect()
    let broken = true
    try {
      const [, current] = [await client.query<TransactionName>(first)].flat()
      const result = await action(sessionOf(client))
      broken = await this.#commit(client, current?.rows[0])
      return result
    } catch (error) {
      if (!isLost(error) && !this.mayHaveHappened(error)) {
        broken = await client.query('ROLLBACK').then(
          () => false,
          () => true,
        )
      }
      throw error
    } finally {
      client.release(broken)
    }
  }

  /** Commits; answers whether the connection was lost over it. */
  async #commit(client: PoolClient, name: TransactionName | undefined): Promise<boolean> {
    try {
      await client.query('COMMIT')
      return false
    } catch (error) {
      if (!isLost(error)) throw error
      const isDone = name && (await this.#isCommitted(name))
      if (isDone === true) return true
      if (isDone === false) throw error
      const unknown = unknownOutcome()
      this.#undecided.add(unknown)
      throw unknown
    }
  }

  /** `undefined` where nobody knows. */
  async #isCommitted({ id, incarnation }: TransactionName): Promise<boolean | undefined> {
    if (incarnation === null) return undefined
    for (const end = performance.now() + Math.min(askFor, this.#deadline); performance.now() < end; await wait(200)) {
      const session = sessionOf(this.#aside)
      try {
        const [row] = await session.query<{ status: string | null; incarnation: string | null }>(statusOf, id)
        if (row?.incarnation !== incarnation) return undefined
        if (row?.status === 'committed') return true
        if (row?.status === 'aborted') return false
        if (row?.status !== 'in progress') return undefined
        await session.query(endForsaken, id)
      } catch (error) {
        if (!isLost(error)) return undefined
      }
    }
    return undefined
  }
}

const tryLock = statement('SELECT pg_try_advisory_lock($1::bigint) AS held')
