/** What a server tells its operator, on stderr: a line for each request, and warnings. */
import type { AccessLogEntry } from '../gateway/options.ts'
import type { Config } from './config.ts'
import { printable, printableJson } from './printable.ts'

/** A line of the request log: one line, whatever a client sent. It never contains a secret or a body. */
export const logLine = (entry: AccessLogEntry, form: 'text' | 'json'): string => {
  const { error, ...rest } = entry
  const cause = error?.cause instanceof Error ? `: ${error.cause.message}` : ''
  const problem = error === undefined ? undefined : `${error.code}: ${error.message}${error.status >= 500 ? cause : ''}`
  if (form === 'json') return printableJson({ ...rest, error: problem })
  const { time, remote, user = '-', action = '-', method, path, status, milliseconds } = rest
  return printable(
    [time, remote, user, action, method, path, status, `${milliseconds}ms`, problem].filter(Boolean).join(' '),
  )
}

/** Tells the operator something: a line of the log, or a warning of the process where there is no log. It never contains a secret. */
export const warn = (log: Config['log'], message: string): void => {
  const time = new Date().toISOString()
  if (log === 'none') process.emitWarning(message)
  else
    process.stderr.write(
      `${log === 'json' ? printableJson({ time, warning: message }) : printable(`${time} warning: ${message}`)}\n`,
    )
}

/** An error with its cause, which may name files. */
export const detailed = (error: unknown): string =>
  error instanceof Error && error.cause instanceof Error ? `${String(error)}: ${error.cause.message}` : String(error)
