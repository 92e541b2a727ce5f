/**
 * `sse-kms certify`: runs the conformance suite against a key manager of the user's own. The module that is named is code, and is run with the
 * rights of the user.
 */
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { SseError } from '../errors.ts'
import { lackedBy } from '../kms/testing/check.ts'
import { runConformance } from '../kms/testing/conformance.ts'
import { nameOf } from '../kms/testing/expect.ts'
import type { ConformanceReport, ConformanceSetup } from '../kms/testing/setup.ts'
import { command, type Command, commonOptions } from './command.ts'
import { usage } from './failure.ts'
import { print } from './io.ts'
import { printable, printableJson } from './printable.ts'

const guide = 'See docs/guide-provider.md.'

/** What went wrong in code of the user, as part of a line. */
const said = (error: unknown): string => nameOf(error).replaceAll(/\s+/g, ' ')

const load = async (path: string): Promise<unknown> => {
  try {
    return await import(pathToFileURL(resolve(path)).href)
  } catch (error) {
    const isUnknown = error instanceof Error && 'code' in error && error.code === 'ERR_UNKNOWN_FILE_EXTENSION'
    const next = isUnknown && /\.[cm]?ts$/.test(path) ? 'Compile it first, or use Node 22.18 or later.' : guide
    throw usage(`${path} cannot be loaded: ${said(error)}`, next)
  }
}

const isSetup = (value: unknown): value is ConformanceSetup => lackedBy(value).length === 0

/** What the module exports as `setup`: the setup, a promise of it, or a function that gives either. */
const setupOf = async (path: string): Promise<ConformanceSetup> => {
  const loaded = new Map<string, unknown>(Object.entries(Object(await load(path))))
  if (!loaded.has('setup')) throw usage(`${path} has no export named setup`, guide)
  const setup = loaded.get('setup')
  let given: unknown
  try {
    given = await (typeof setup === 'function' ? setup() : setup)
  } catch (error) {
    throw usage(`setup of ${path} rejects: ${said(error)}`, 'Correct it.')
  }
  if (!isSetup(given)) throw usage(`setup of ${path} lacks ${lackedBy(given).join(', ')}`, guide)
  return given
}

/** A line for each case. Under a case that failed stands what it is about; one that failed like another before names that one. */
const textOf = ({ provider, results }: ConformanceReport): string => {
  const width = Math.max(...results.map(({ name }) => name.length))
  const failed = new Map<string, string>()
  const lines = results.flatMap(({ name, about, outcome, reason }) => {
    const line = `${outcome.padEnd(14)}  ${name.padEnd(width)}`
    if (reason === undefined) return [line.trimEnd()]
    if (outcome !== 'failed') return [`${line}  ${reason}`]
    const first = failed.get(reason)
    if (first !== undefined) return [`${line}  As "${first}".`]
    failed.set(reason, name)
    return [`${line}  ${reason}`, `${' '.repeat(14 + 2 + width + 2)}${about}`]
  })
  return `${[provider, ...lines].map(printable).join('\n')}\n`
}

/** What to do about cases that failed. */
const advice = ({ provider, results }: ConformanceReport): string => {
  const failed = results.filter(({ outcome }) => outcome === 'failed')
  const [first] = failed
  const next =
    failed.length > 1 && first?.name === results[0]?.name ? `Mend "${first?.name}" first.` : 'Mend what they name.'
  return `The key manager ${provider} fails ${failed.length} of ${results.length} cases. ${next}`
}

/** `sse-kms certify`. */
export const certify: Command = command({
  name: 'certify',
  usage: ['MODULE [--json]'],
  about: [
    'Runs the conformance suite against a key manager of your own, and prints what became of each case: passed, failed or not ' +
      'applicable, with the reason, and what a case that failed is about. Exit status 1 if a case failed.',
    'MODULE is a file that Node can import. Its export setup is what the suite is given, or a function that makes it: the key manager ' +
      'as kms, and the full ids of two enabled keys as keyId and otherKeyId. docs/guide-provider.md says the rest.',
    'Cases make, rotate, disable and delete keys, as far as the key manager can. Do not run it on keys that are in use.',
  ],
  options: commonOptions,
  examples: ['sse-kms certify ./own-kms.js', 'sse-kms certify --json ./own-kms.js > report.json'],
  positionals: 1,
  run: async (args, io) => {
    const [path] = args.positionals
    if (path === undefined) throw usage('no module was given', 'See sse-kms help certify.')
    const report = await runConformance(await setupOf(path))
    await print(io.stdout, args.flag('json') ? `${printableJson(report, 2)}\n` : textOf(report))
    if (report.passed) return
    throw new SseError('NotConforming', { message: advice(report) })
  },
})
