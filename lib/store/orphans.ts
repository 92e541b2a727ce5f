/**
 * Bodies that the index does not know: those of processes that ended between two steps. Where that would be many, the index is taken for the
 * wrong one and none goes.
 */
import { SseError } from '../errors.ts'
import { asStoreFailed } from './failure.ts'
import type { KnownBodies } from './inspection.ts'

/** Bodies that the index does not know which are deleted in any case; of more, a tenth of all at most. */
const few = 10

/** How to look for orphans. */
export interface OrphanOptions extends KnownBodies {
  /** Bodies that were there and are gone by now: they count. */
  readonly examined: number
  /** Whether to delete what the index does not know however much it is. */
  readonly sweepAll: boolean
  /** Asked between the steps: whether to stop here. */
  readonly stop: () => boolean
}

/** Deletes them; answers how many bodies there were and how many were deleted. */
export const removeOrphans = (
  options: OrphanOptions,
): Promise<{ readonly examined: number; readonly removed: number }> =>
  asStoreFailed(async () => {
    const { bodies, unknown, unfinished, sweepAll, stop } = options
    let { examined } = options
    let removed = await bodies.discardUnfinished(async ids => (stop() ? [] : unfinished(ids)))
    const orphans: string[] = []
    for await (const ids of bodies.list()) {
      if (stop()) return { examined, removed }
      examined += ids.length
      orphans.push(...(await unknown(ids)))
    }
    if (!sweepAll && orphans.length > few && orphans.length > examined / 10) throw tooMany(orphans.length, examined)
    for (const id of orphans) {
      if (stop()) break
      if (await bodies.delete(id)) removed++
    }
    return { examined, removed }
  })

const tooMany = (orphans: number, examined: number): SseError => {
  const message =
    `The index does not know ${orphans} of ${examined} body files. That many are not deleted, for the index may be the wrong one: put the ` +
    'right one back. Where it is the right one, have them deleted: sweepAll, on the command line --sweep-all.'
  return new SseError('StoreFailed', { message })
}
