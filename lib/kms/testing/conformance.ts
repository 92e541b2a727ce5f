/** The suite that holds a key manager to what `KeyManager` promises: a list of cases for any test runner, and a function that runs them. */
import { calls, closing } from './calls.ts'
import { checkSetup } from './check.ts'
import { inTime, nameOf, withoutSecrets } from './expect.ts'
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
  const { name, about } = each
  const known = setup.notApplicable?.[name]
  if (known !== undefined) return { name, about, outcome: 'not applicable', reason: known }
  try {
    const reason = await inTime('The case', limit, each.run(setup))
    return reason === undefined
      ? { name, about, outcome: 'passed' }
      : { name, about, outcome: 'not applicable', reason }
  } catch (error) {
    return { name, about, outcome: 'failed', reason: withoutSecrets(`${nameOf(error)}.`, setup.secrets) }
  }
}

/**
 * Runs all cases against a key manager, one after the other, and then `stop` of the setup. A case that a key manager fails is in the report;
 * rejects only where `stop` does, and with `InvalidSetup` before the first case where the setup cannot be right.
 *
 * {@includeCode ../../../test/examples/provider.test.ts#conformance}
 */
export const runConformance = async (setup: ConformanceSetup): Promise<ConformanceReport> => {
  const results: ConformanceResult[] = []
  try {
    await checkSetup(
      setup,
      conformanceCases.map(({ name }) => name),
    )
    for (const each of conformanceCases) results.push(await runCase(each, setup))
  } finally {
    await setup.stop?.()
  }
  const { name: provider, bindsContext } = setup.kms
  return { provider, bindsContext, passed: results.every(({ outcome }) => outcome !== 'failed'), results }
}
