/** What a server tells its operator: a line for each request, on stderr or in a file; the audit; and warnings, on stderr. */
import type { AccessLogEntry, KeyUseEntry } from '../gateway/options.ts'
import type { Config } from './config.ts'
import { type LineFile, type LineFileOptions, openLineFile } from './line-file.ts'
import { printable, printableJson } from './printable.ts'

/** What is logged of a request. */
const recordOf = ({ error, ...rest }: AccessLogEntry) => {
  const cause = error?.cause instanceof Error ? `: ${error.cause.message}` : ''
  const problem = error === undefined ? undefined : `${error.code}: ${error.message}${error.status >= 500 ? cause : ''}`
  return { ...rest, error: problem }
}

/** A line of the request log: one line, whatever a client sent. It never contains a secret or a body. */
export const logLine = (entry: AccessLogEntry, form: 'text' | 'json'): string => {
  const { error: problem, ...rest } = recordOf(entry)
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

/** Where a server writes what happens in it. */
export interface Logs {
  /** Told of each request, where there is a log of them. */
  readonly request: ((entry: AccessLogEntry) => void) | undefined
  /** Told of each use of a master key, where there is an audit. */
  readonly keyUse: ((entry: KeyUseEntry) => void) | undefined
  /** Opens the files anew. Rejects with `FileFailed`, and the old ones stay. */
  reopen(): Promise<void>
  /** Writes what waits, as far as that is possible. */
  close(): Promise<void>
}

/** Opens the audit: a file, or `stderr`. Rejects with `FileFailed` where the file cannot be opened. */
export const openAudit = async (
  target: string,
  options: Pick<LineFileOptions, 'warn' | 'shared'>,
): Promise<LineFile> => {
  if (target !== 'stderr') return openLineFile(target, { setting: 'audit', ...options })
  return {
    write: entry => void process.stderr.write(`${printableJson(entry)}\n`),
    reopen: async () => undefined,
    close: async () => undefined,
  }
}

/** Opens the logs of a server. `shared`: other processes write into the same files. Rejects with `FileFailed`. */
export const openLogs = async ({ log, audit, accessLog }: Config, shared: boolean): Promise<Logs> => {
  const options = { shared, warn: (message: string) => warn(log, message) }
  const audited = audit === undefined ? undefined : await openAudit(audit, options)
  const opening = accessLog === undefined ? undefined : openLineFile(accessLog, { setting: 'accessLog', ...options })
  await opening?.catch(() => audited?.close())
  const logged = await opening
  const onStderr =
    log === 'none' ? undefined : (entry: AccessLogEntry) => void process.stderr.write(`${logLine(entry, log)}\n`)
  return {
    keyUse: audited && (entry => audited.write(entry)),
    request: logged ? entry => logged.write(recordOf(entry)) : onStderr,
    reopen: async () => {
      await audited?.reopen()
      await logged?.reopen()
    },
    close: async () => {
      await audited?.close()
      await logged?.close()
    },
  }
}
