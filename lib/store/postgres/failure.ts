/** What PostgreSQL and the way to it say, as errors of a store. An answer never holds a statement or a value of it. */
import { SseError } from '../../errors.ts'

/** The SQLSTATE of an error that the server told: those have a severity, and EPIPE, which has five letters too, has none. */
const stateOf = (error: unknown): string | undefined =>
  error instanceof Error && 'severity' in error && 'code' in error && typeof error.code === 'string'
    ? error.code
    : undefined

/** An error of the store or of the program that uses it: none of the database. */
export const isProgramError = (error: unknown): boolean =>
  error instanceof SseError || error instanceof TypeError || error instanceof RangeError

/** Whether the connection is lost with this error: what runs on it may have happened or not. A standby takes no changes: its connection is a wrong one. */
export const isLost = (error: unknown): boolean => {
  if (isProgramError(error)) return false
  const state = stateOf(error)
  return state === undefined || /^(08|57P|25006)/.test(state)
}

// pg-pool says so where all connections are in use, and where none could be made in time.
const isExhausted = (error: unknown): boolean =>
  error instanceof Error && /timeout exceeded when trying to connect/.test(error.message)

// serialization_failure, deadlock_detected
const isUndone = (error: unknown): boolean => /^(40001|40P01)$/.test(stateOf(error) ?? '')

/** Whether the same may succeed at once when it is tried again. */
export const isPassing = (error: unknown): boolean => isUndone(error) || (isLost(error) && !isExhausted(error))

/** The error as one of the store. */
export const storeError = (error: unknown): unknown => {
  if (isProgramError(error)) return error
  const state = stateOf(error)
  const text = error instanceof Error ? error.message : String(error)
  const cause = new Error(state === undefined ? text : `PostgreSQL: ${text} (${state})`)
  if (isExhausted(error)) {
    return new SseError('StoreBusy', { message: 'All connections to the database are in use. Try again later.', cause })
  }
  // query_canceled, lock_not_available, too_many_connections
  if (isUndone(error) || /^(57014|55P03|53300)$/.test(state ?? '')) {
    return new SseError('StoreBusy', { message: 'The database did not answer in time. Try again later.', cause })
  }
  if (state === '53100') return new SseError('StoreFull', { cause })
  // out_of_memory and the like pass.
  if (isLost(error) || state?.startsWith('53') === true) return new SseError('StoreUnavailable', { cause })
  return new SseError('StoreFailed', {
    message: 'The database refused a statement. Look at the cause on the server.',
    cause,
  })
}
