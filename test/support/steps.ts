/**
 * What a process does to files, step by step: a test may hold it at any of them, for ever as if it were killed there. Nothing is flushed
 * while this is on. Import what is watched after it.
 */
import type { FileHandle } from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'

/** A step that is about to be done. */
export interface Step {
  readonly name: string
  /** The path that gets or loses its name; empty for what is done to an open file. */
  readonly path: string
}

/** The steps of this process. */
export interface Steps {
  /** Asked before each step, which waits for the answer. */
  before: (step: Step) => Promise<void>
  /**
   * Runs `work` until it has done `count` steps that others can see, and leaves it there: whether it came so far. Flushes, folders and what
   * is done to temporary files are not counted.
   */
  halt(count: number, work: () => Promise<unknown>): Promise<boolean>
  /** Holds the first step that is wanted: resolves once it is about to be done, to what lets it go on. */
  hold(isWanted: (step: Step) => boolean): Promise<() => void>
}

interface Handles {
  sync(this: FileHandle): Promise<void>
  truncate(this: FileHandle, length?: number): Promise<void>
}

/** Kept, so that nothing of what was left there is collected. */
const never: (() => void)[] = []

const nothing = async (): Promise<void> => undefined

/** Watches the steps of this process from now on. */
export const watchSteps = async (): Promise<Steps> => {
  const { default: real } = await import('node:fs')
  const files = real.promises
  const { rename, link, rm, copyFile, mkdir } = files
  const steps: Steps = {
    before: nothing,
    halt: async (count, work) => {
      let done = 0
      const halted = new Promise<boolean>(resolve => {
        steps.before = ({ name, path }) => {
          if (['sync', 'mkdir'].includes(name) || path.endsWith('.tmp') || done++ < count) return nothing()
          resolve(true)
          return new Promise(goOn => never.push(goOn))
        }
      })
      const came = await Promise.race([halted, work().then(() => false)])
      steps.before = nothing
      return came
    },
    hold: isWanted =>
      new Promise(resolve => {
        steps.before = step => {
          if (!isWanted(step)) return nothing()
          steps.before = nothing
          return new Promise(goOn => resolve(goOn))
        }
      }),
  }
  files.rename = async (from, to) => {
    await steps.before({ name: 'rename', path: String(to) })
    return rename(from, to)
  }
  files.link = async (from, to) => {
    await steps.before({ name: 'link', path: String(to) })
    return link(from, to)
  }
  files.rm = async (path, options) => {
    await steps.before({ name: 'rm', path: String(path) })
    return rm(path, options)
  }
  files.copyFile = async (from, to, mode) => {
    await steps.before({ name: 'copyFile', path: String(to) })
    return copyFile(from, to, mode)
  }
  const makeFolder = async (path: string, options?: { readonly mode?: number }): Promise<undefined> => {
    await steps.before({ name: 'mkdir', path })
    await mkdir(path, options)
  }
  Object.assign(files, { mkdir: makeFolder })
  syncBuiltinESMExports()
  const handle = await files.open('/', 'r')
  const handles: Handles = Object.getPrototypeOf(handle)
  await handle.close()
  const { truncate } = handles
  handles.sync = async function () {
    if ((await this.stat()).isFile()) await steps.before({ name: 'sync', path: '' })
  }
  handles.truncate = async function (length) {
    await steps.before({ name: 'truncate', path: '' })
    return truncate.call(this, length)
  }
  return steps
}
