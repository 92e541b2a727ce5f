/** What the scripts that measure write into the docs: tables between markers, and the machine that they were made on. */
import { readFileSync, writeFileSync } from 'node:fs'
import { cpus, loadavg } from 'node:os'
import { fileURLToPath } from 'node:url'
import { format } from 'prettier'

/** Machine, versions and how busy it was. */
export const machine = (): string => {
  const all = cpus()
  const load = loadavg().map(value => value.toFixed(1))
  return (
    `${all.length} × ${all[0]?.model.trim() ?? 'CPU'}, Node ${process.version}, ${new Date().toISOString().slice(0, 10)}; ` +
    `load of the machine over 1, 5 and 15 minutes at the end ${load.join(', ')}`
  )
}

/** Writes a text between its markers in a page of the docs. */
export const writeInto = async (page: string, marker: string, text: string): Promise<void> => {
  const path = fileURLToPath(new URL(`../../docs/${page}`, import.meta.url))
  const marked = new RegExp(`(<!-- ${marker} -->\\n).*?(?=<!-- end -->)`, 's')
  const next = readFileSync(path, 'utf8').replace(marked, (_, open: string) => `${open}\n${text}\n\n`)
  writeFileSync(path, await format(next, { parser: 'markdown', printWidth: 140, proseWrap: 'preserve' }))
}
