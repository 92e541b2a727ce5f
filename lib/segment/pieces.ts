/** Generator skin of a driver: the lightest, for whoever needs no stream. */
import type { MaybePromise } from '../bytes.ts'
import type { Driver } from './driver.ts'
import { inTurn } from './fair-share.ts'

/**
 * What leaves a driver while a source goes in, piece by piece: for `for await`, or as a function in the middle of `pipeline()`. Nothing is read
 * ahead: the next chunk is asked for once everything that the last one gave was taken, so its source may use its memory again. Errors are
 * thrown; keys are wiped at the end, on an error, and where the loop is left.
 *
 * {@includeCode ../../test/examples/reference.test.ts#skins-other}
 */
export async function* toPieces(
  driver: Driver,
  source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void, undefined> {
  let out: Uint8Array[] = []
  const emit = (bytes: Uint8Array) => {
    out.push(bytes)
  }
  const step = (work: () => MaybePromise<void>): Promise<readonly Uint8Array[]> =>
    new Promise((resolve, reject) => {
      inTurn(work, error => {
        const pieces = out
        out = []
        if (error instanceof Error) reject(error)
        else resolve(pieces)
      })
    })
  try {
    for await (const chunk of source) {
      for (const piece of await step(() => driver.write(chunk, emit))) yield piece
    }
    for (const piece of await step(() => driver.end(emit))) yield piece
  } finally {
    driver.dispose()
  }
}
