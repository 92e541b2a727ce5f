/** Bodies as async generators in stages, and how they are written to a stream. */
import type { Writable } from 'node:stream'

/** A stage of a body. It throws on failure; it ends only if everything was in order. */
export type BodyStage = (source: AsyncIterable<Uint8Array>) => AsyncIterable<Uint8Array>

/** Waits for `drain` or `finish`; rejects if the stream fails or closes first. */
export const until = (writable: Writable, event: 'drain' | 'finish'): Promise<void> =>
  new Promise((resolve, reject) => {
    const settle = (): void => {
      writable.off(event, settle).off('close', settle)
      if (writable.writableFinished || !writable.destroyed) resolve()
      else reject(writable.errored ?? new Error('what was written to was closed before the end'))
    }
    if (writable.destroyed) settle()
    else writable.on(event, settle).on('close', settle)
  })

/** Writes bytes as they come, then the end; resolves once the writable has finished. The caller destroys it where this rejects. */
export const pour = async (bytes: AsyncIterable<Uint8Array>, writable: Writable): Promise<void> => {
  writable.on('error', () => undefined) // thrown below
  for await (const piece of bytes) {
    if (writable.destroyed || !writable.write(piece)) await until(writable, 'drain')
  }
  const finished = until(writable, 'finish')
  writable.end()
  await finished
}
