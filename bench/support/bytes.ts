/** Numbers of bytes for people. */

/** `1 KiB`, `64 MiB`: a number of bytes for people. */
export const bytes = (count: number): string => {
  const names = ['B', 'KiB', 'MiB', 'GiB']
  const power = count < 1 ? 0 : Math.min(3, Math.floor(Math.log2(count) / 10))
  return `${Number((count / 1024 ** power).toFixed(1))} ${names[power] ?? ''}`
}
