/** Runs something so many times, so many at once. */
export const atOnce = async (count: number, writers: number, run: (i: number) => Promise<unknown>): Promise<number> => {
  let next = 0
  const work = async () => {
    while (next < count) await run(next++)
  }
  await Promise.all(Array.from({ length: Math.min(count, writers) }, work))
  return count
}
