/**
 * Which process left an entry in the index, and whether it is still there: what a sweep may take away is what dead processes left. A
 * process is its number, its start and the boot and PID namespace that the number means something in (numbers are used again).
 */
import { readFileSync, readlinkSync } from 'node:fs'

/** Names a process of this machine. */
export interface ProcessName {
  /** Boot of the machine; empty where the system does not tell. */
  readonly boot: string
  /** PID namespace; empty where the system does not tell. */
  readonly space: string
  readonly pid: number
  /** Start, in ticks since boot; empty where the system does not tell. */
  readonly start: string
}

const tell = (read: () => string): string => {
  try {
    return read().trim()
  } catch {
    return ''
  }
}

// proc(5), /proc/PID/stat: "pid (comm) state …", start time is field 22; comm may hold blanks and parentheses.
const statOf = (pid: number | string, proc: string): { readonly state: string; readonly start: string } => {
  const line = tell(() => readFileSync(`${proc}/${pid}/stat`, 'utf8'))
  const [state = '', ...fields] = line.slice(line.lastIndexOf(')') + 2).split(' ')
  const [start = ''] = fields.slice(18)
  return { state, start }
}

/** This process. `proc` is where the system tells about processes. */
export const nameProcess = (proc = '/proc'): ProcessName => ({
  boot: tell(() => readFileSync(`${proc}/sys/kernel/random/boot_id`, 'utf8')),
  space: tell(() => readlinkSync(`${proc}/self/ns/pid`)),
  pid: process.pid,
  start: statOf('self', proc).start,
})

const responds = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code !== 'ESRCH'
  }
}

/**
 * Whether a process is alive, as `self` can tell: `undefined` where it cannot, in another PID namespace. A zombie is dead; without /proc a
 * process of that number counts as alive.
 */
export const isAlive = (other: ProcessName, self: ProcessName, proc = '/proc'): boolean | undefined => {
  if (other.boot !== self.boot) return false
  if (other.space !== self.space) return undefined
  const { state, start } = statOf(other.pid, proc)
  if (start === '') return responds(other.pid)
  return start === other.start && state !== 'Z' && state !== 'X'
}
