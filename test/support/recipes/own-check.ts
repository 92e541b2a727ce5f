/** The check that a program brings along: `check.ts` of its folder. */
import { spawn } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Checked } from './course.ts'

const limit = 60_000

/** Runs it. Every line `ok …` is a check that passed, `skip …` says why nothing was checked. */
export const runOwnCheck = async (folder: string, data: string): Promise<readonly Checked[]> => {
  mkdirSync(data, { recursive: true })
  const { PATH, HOME } = process.env
  const REPOSITORY = fileURLToPath(new URL('../../..', import.meta.url))
  const child = spawn(process.execPath, ['--import', import.meta.resolve('tsx'), 'check.ts'], {
    cwd: folder,
    env: { PATH, HOME, DATA: data, REPOSITORY },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: limit,
    killSignal: 'SIGKILL',
  })
  let [out, all] = ['', '']
  child.stdout.on('data', (chunk: Buffer) => (out += String(chunk)))
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (all += String(chunk)))
  const status = await new Promise<string>(resolve => {
    child.once('close', (code, signal) => resolve(signal ?? String(code)))
  })
  const named = (word: string): readonly string[] =>
    Array.from(out.matchAll(new RegExp(`^${word} (.+)$`, 'gm')), ([, name = '']) => name)
  const passed = named('ok').map(name => ({ name }))
  if (status !== '0') return [...passed, { name: 'check.ts', failure: `it ended with ${status}:\n${all}` }]
  const skipped = named('skip').map(why => ({ name: 'check.ts', skipped: why }))
  if (passed.length + skipped.length > 0) return [...passed, ...skipped]
  return [{ name: 'check.ts', failure: `it checked nothing: no line begins with "ok "\n${all}` }]
}
