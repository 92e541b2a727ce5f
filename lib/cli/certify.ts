/**
 * `sse-kms certify`: runs the conformance suite against a key manager of the user's own. The module that is named is code, and is run with the
 * rights of the user.
 */
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { SseError } from '../errors.ts'
import { runConformance } from '../kms/testing/conformance.ts'
import type { ConformanceReport, ConformanceSetup } from '../kms/testing/setup.ts'
import { command, type Command, commonOptions } from './command.ts'
import { usage } from './failure.ts'
import { print } from './io.ts'
import { printable, printableJson } from './printable.ts'

const isSetup = (value: unknown): value is ConformanceSetup =>
  typeof value === 'object' &&
  value !== null &&
  'kms' in value &&
  typeof value.kms === 'object' &&
  value.kms !== null &&
  'keyId' in value &&
  typeof value.keyId === 'string' &&
  'otherKeyId' in value &&
  typeof value.otherKeyId === 'string'

/** What the module exports as `setup`: the setup, a promise of it, or a function that gives either. */
const setupOf = async (path: string): Promise<ConformanceSetup> => {
  let loaded: unknown
  try {
    loaded = await import(pathToFileURL(resolve(path)).href)
  } catch (error) {
    throw usage(`${path} cannot be loaded: ${error instanceof Error ? error.message : String(error)}`)
  }
  const setup = new Map<string, unknown>(Object.entries(Object(loaded))).get('setup')
  const given: unknown = await (typeof setup === 'function' ? setup() : setup)
  if (!isSetup(given)) {
    throw usage(`${path} has no export setup that gives { kms, keyId, otherKeyId }`, 'See docs/guide-provider.md.')
  }
  return given
}

const textOf = ({ provider, results }: ConformanceReport): string => {
  const width = Math.max(...results.map(({ name }) => name.length))
  const lines = results.map(({ name, outcome, reason }) => {
    const line = `${outcome.padEnd(14)}  ${name.padEnd(width)}`
    return printable(reason === undefined ? line.trimEnd() : `${line}  ${reason}`)
  })
  return `${[printable(provider), ...lines].join('\n')}\n`
}

/** `sse-kms certify`. */
export const certify: Command = command({
  name: 'certify',
  usage: ['MODULE [--json]'],
  about: [
    'Runs the conformance suite against a key manager of your own, and prints what became of each case: passed, failed or not ' +
      'applicable, with the reason. Exit status 1 if a case failed.',
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
    const failed = report.results.filter(({ outcome }) => outcome === 'failed').length
    throw new SseError('NotConforming', {
      message: `The key manager ${report.provider} fails ${failed} of ${report.results.length} cases. Mend what they name.`,
    })
  },
})
