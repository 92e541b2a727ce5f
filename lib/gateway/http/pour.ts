/** Bodies as async generators in stages, and how they are written to a stream. */
import type { Writable } from 'node:stream'
import type { SegmentMemory } from '../../cipher/memory.ts'

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

/** Gives a piece back once it was written; one whose write failed is left alone. */
export const givenBack = (
  memory: SegmentMemory | undefined,
  piece: Uint8Array,
): ((error?: Error | null) => void) | undefined =>
  memory &&
  (error => {
    if (!error) memory.give(piece)
  })

/**
 * Writes bytes as they come, then the end; resolves once the writable has finished. Pieces of `memory` are given back. The caller destroys the
 * writable where this rejects.
 */
export const pour = async (
  bytes: AsyncIterable<Uint8Array>,
  writable: Writable,
  memory?: SegmentMemory,
): Promise<void> => {
  writable.on('error', () => undefined) // thrown below
  for await (const piece of bytes) {
    if (writable.destroyed || !writable.write(piece, givenBack(memory, piece))) await until(writable, 'drain')
  }
  const finished = until(writable, 'finish')
  writable.end()
  await finished
}
