/** Calls to key managers, as those who watch a program are told of them. */

/** What a key manager is asked to do. */
export type KmsOperation =
  | 'generateDataKey'
  | 'wrapDataKey'
  | 'unwrapDataKey'
  | 'rewrapDataKey'
  | 'describe'
  | 'find'
  | 'list'
  | 'create'
  | 'rotate'
  | 'enable'
  | 'disable'
  | 'scheduleDeletion'
  | 'cancelDeletion'

/**
 * Name of the channel of `node:diagnostics_channel` that calls are told on.
 *
 * {@includeCode ../../test/examples/kms.test.ts#decorators}
 */
export const kmsChannel = 'sse-kms-streams:kms'

/** A call to a key manager that has ended, as subscribers of {@link kmsChannel} are told of it. */
export interface KmsEvent {
  /** What records hold, such as `aws-kms`. */
  readonly provider: string
  /** Name of the configured instance. */
  readonly instance: string
  /** What was asked for. */
  readonly operation: KmsOperation
  /** The master key, or the name that a key was looked for by. */
  readonly key: string | undefined
  /** From the call to its end. */
  readonly milliseconds: number
  /** Whether a cache answered. */
  readonly cached: boolean
  /** `ok`; the code of the error; `aborted` where the caller left. */
  readonly outcome: string
}
