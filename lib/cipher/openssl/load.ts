/**
 * Loads the engine over OpenSSL: koffi where it is installed, else `node:ffi`. A call that is wrong ends the process, so `trial.ts` has a
 * child process do all of this first.
 */
import type { SyncEngine } from '../engine.ts'
import type { Calls } from './calls.ts'
import { engineOver } from './engine.ts'
import { callsOverKoffi, hasKoffi } from './koffi.ts'
import { callsOverNodeFfi } from './node-ffi.ts'

const versionOf = (number: number): string => `${number >>> 28}.${(number >>> 20) & 255}.${(number >>> 4) & 65535}`

/** Throws an `Error` unless these are calls of the OpenSSL that Node has inside. */
const assertOwn = (calls: Calls): void => {
  const [own = ''] = process.versions.openssl.split('+')
  const found = versionOf(calls.OpenSSL_version_num())
  if (found !== own) throw new Error(`the OpenSSL that can be called is ${found}, and that of Node is ${own}`)
}

/** The engine, not tested yet. Throws an `Error` that says why, where it cannot be had. */
export const loadEngine = async (): Promise<SyncEngine> => {
  const calls = hasKoffi() ? await callsOverKoffi() : callsOverNodeFfi()
  assertOwn(calls)
  return engineOver(calls)
}
