/** The space that is left on the disk of an index. */
import { statfsSync } from 'node:fs'
import { SseError } from '../../errors.ts'

/** Bytes of the disk that nothing is added to: LMDB may end the process where a commit finds no space, and deletions need some. */
const reserve = 8 * 1024 * 1024

/** A look that found so many bytes holds for so many milliseconds: no disk takes a fraction of them in that time. */
const [ample, holdsFor] = [1024 * 1024 * 1024, 20]

/** Asks whether there is space on the disk of this folder: `StoreFull` where there is no more than the reserve. */
export const spaceOf = (folder: string): (() => void) => {
  let until = 0
  return () => {
    const now = performance.now()
    if (now < until) return
    const { bavail, bsize } = statfsSync(folder)
    const free = bavail * bsize
    if (free < reserve) throw new SseError('StoreFull')
    if (free >= ample) until = now + holdsFor
  }
}
