/** A driver as a stage of stream-chain. */
import { flushable, many, type Many } from 'stream-chain/defs.js'
import { isPromise, type MaybePromise } from '../bytes.ts'
import { chunkBytes, type Driver, type Emit } from './driver.ts'

/**
 * A stage for the middle of `chain([...])`: chunks of bytes or text (as UTF-8) in, bytes out. It fuses with the functions beside it; under `pipeline()`
 * its keys are wiped on errors and aborts too.
 */
// The one `any` of the surface: stream-chain infers what a stage gives from what the next one takes.
// eslint-disable-next-line typescript/no-explicit-any
export type Stage = (chunk: Uint8Array | string) => any

/**
 * A stage over a driver; it serves one body.
 */
export const toStage = (driver: Driver): Stage => {
  const collect = (run: (emit: Emit) => MaybePromise<void>): MaybePromise<Many<Uint8Array>> => {
    const out: Uint8Array[] = []
    const result = run(bytes => out.push(bytes))
    return isPromise(result) ? result.then(() => many(out)) : many(out)
  }
  const end = async (): Promise<Many<Uint8Array>> => {
    try {
      return await collect(emit => driver.end(emit))
    } finally {
      driver.dispose()
    }
  }
  return flushable(
    (chunk: Uint8Array | string) => collect(emit => driver.write(chunkBytes(chunk), emit)),
    end,
    () => driver.dispose(),
  )
}
