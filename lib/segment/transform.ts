/** Node skin of a driver. */
import { Transform } from 'node:stream'
import type { Driver } from './driver.ts'
import { inTurn } from './fair-share.ts'

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
    transform: (chunk: Uint8Array, _encoding, done) => inTurn(() => driver.write(chunk, emit), done),
    flush: done => inTurn(() => driver.end(emit), done),
    destroy: (error, done) => {
      driver.dispose()
      done(error)
    },
  })
  return transform
}
