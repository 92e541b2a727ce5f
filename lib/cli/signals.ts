/** Signals of the system as one AbortSignal: the first asks a command to stop in good order, the second ends the process at once. */

const names = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/** As much of `process` as this needs. */
export interface Signalled {
  on(name: (typeof names)[number], listener: () => void): unknown
  removeListener(name: (typeof names)[number], listener: () => void): unknown
}

/** Aborted by the first SIGINT, SIGTERM or SIGHUP. From then on nobody listens, and the system does what it does without a listener. */
export const interruptSignal = (process: Signalled): AbortSignal => {
  const controller = new AbortController()
  const interrupt = () => {
    for (const name of names) process.removeListener(name, interrupt)
    controller.abort()
  }
  for (const name of names) process.on(name, interrupt)
  return controller.signal
}
