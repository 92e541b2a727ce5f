/** Node skin of a driver. */
import { Transform } from 'node:stream'
import { isPromise, type MaybePromise } from '../bytes.ts'
import type { Driver } from './driver.ts'
import { inTurn } from './fair-share.ts'

type Done = (error?: Error | null) => void

const settle = (run: () => MaybePromise<void>, done: Done): void => {
  try {
    const result = run()
    if (isPromise(result)) result.then(() => done(), done)
    else done()
  } catch (error) {
    done(error instanceof Error ? error : new Error(String(error)))
  }
}

/**
 * A Node `Transform` over a driver: chunks in, chunks out, errors destroy it, keys are wiped when it closes. Use it in `pipeline()`,
 * which propagates errors both ways.
 *
 * {@includeCode ../../test/examples/reference.test.ts#skins}
 */
export const toTransform = (driver: Driver): Transform => {
  const emit = (bytes: Uint8Array) => {
    transform.push(bytes)
  }
  const transform = new Transform({
    transform: (chunk: Uint8Array, _encoding, done) => inTurn(() => settle(() => driver.write(chunk, emit), done)),
    flush: done => inTurn(() => settle(() => driver.end(emit), done)),
    destroy: (error, done) => {
      driver.dispose()
      done(error)
    },
  })
  return transform
}
