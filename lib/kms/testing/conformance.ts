/** The suite that holds a key manager to what `KeyManager` promises: a list of cases for any test runner, and a function that runs them. */
import { calls, closing } from './calls.ts'
import { inTime, nameOf } from './expect.ts'
import { keys } from './keys.ts'
import { secrecy } from './secrets.ts'
import type { ConformanceCase, ConformanceReport, ConformanceResult, ConformanceSetup } from './setup.ts'
import { wrapping } from './wrapping.ts'

/**
 * All cases, in the order in which they are to run: the last one closes the key manager.
 *
 * {@includeCode ../../../test/examples/provider.test.ts#cases}
 */
export const conformanceCases: readonly ConformanceCase[] = [...wrapping, ...keys, ...calls, ...secrecy, ...closing]

/** The most that a case takes, in milliseconds. */
const limit = 120_000

/** Runs one case. Never rejects. */
const runCase = async (each: ConformanceCase, setup: ConformanceSetup): Promise<ConformanceResult> => {
  const { name } = each
  const known = setup.notApplicable?.[name]
  if (known !== undefined) return { name, outcome: 'not applicable', reason: known }
  try {
    const reason = await inTime('The case', limit, each.run(setup))
    return reason === undefined ? { name, outcome: 'passed' } : { name, outcome: 'not applicable', reason }
  } catch (error) {
    return { name, outcome: 'failed', reason: nameOf(error) }
  }
}

/**
 * Runs all cases against a key manager, one after the other, and then `stop` of the setup. A case that a key manager fails is in the report;
 * rejects only where `stop` does. `RangeError` where the setup names a case that there is not.
 *
 * {@includeCode ../../../test/examples/provider.test.ts#conformance}
 */
export const runConformance = async (setup: ConformanceSetup): Promise<ConformanceReport> => {
  const names = new Set(conformanceCases.map(({ name }) => name))
  for (const name of Object.keys(setup.notApplicable ?? {})) {
    if (!names.has(name)) throw new RangeError(`there is no case ${name}`)
  }
  const { name: provider, bindsContext } = setup.kms
  const results: ConformanceResult[] = []
  try {
    for (const each of conformanceCases) results.push(await runCase(each, setup))
  } finally {
    await setup.stop?.()
  }
  return { provider, bindsContext, passed: results.every(({ outcome }) => outcome !== 'failed'), results }
}
