/**
 * What the primary process of a server with several workers and its workers say to each other, over the channel that node:cluster gives them. A
 * worker says `hello`, is told what to begin with, and says `ready` or `failed`. After that it answers what it is asked, until it is told to
 * stop.
 */
import type { ErrorCode } from '../errors.ts'
import type { ConfigFile } from './config-schema.ts'
import type { KeyManagerState } from './key-state.ts'
import type { LastCalls, Metric } from './metrics.ts'
import type { Takeover } from './takeover.ts'

/** What a worker begins with: what all the others began with, too, and what was taken over since. */
export interface Beginning {
  readonly written: ConfigFile
  readonly takeover: Takeover
  /** Whether it is the first one, which alone may begin with an index that does not know the bodies. */
  readonly isFirst: boolean
}

/** What a worker is asked for. */
export type Question =
  | { readonly kind: 'store' | 'metrics' | 'keys' | 'reopen' }
  | { readonly kind: 'takeOver'; readonly takeover: Takeover }

/** From the primary process to a worker. */
export type ToWorker =
  | ({ readonly kind: 'begin' } & Beginning)
  | { readonly kind: 'ask'; readonly id: number; readonly question: Question }
  | { readonly kind: 'stop' }

/** What a worker answers. */
export type Answer =
  | { readonly kind: 'done' }
  | { readonly kind: 'refused'; readonly message: string }
  | { readonly kind: 'metrics'; readonly metrics: readonly Metric[]; readonly lastCalls: LastCalls }
  | { readonly kind: 'keys'; readonly states: readonly KeyManagerState[] }

/** From a worker to the primary process. */
export type FromWorker =
  | { readonly kind: 'hello' }
  | { readonly kind: 'ready'; readonly address: string }
  | { readonly kind: 'failed'; readonly code: ErrorCode; readonly message: string }
  | { readonly kind: 'answer'; readonly id: number; readonly answer: Answer }

const hasKind = (message: unknown): boolean => typeof message === 'object' && message !== null && 'kind' in message

/** Whether this came from the primary process of the same program. */
export const isToWorker = (message: unknown): message is ToWorker => hasKind(message)

/** Whether this came from a worker of the same program. */
export const isFromWorker = (message: unknown): message is FromWorker => hasKind(message)
