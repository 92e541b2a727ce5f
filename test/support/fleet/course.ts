/** What clients do, through the fleet: it must be what they can do with one process and its own index, and nothing else. */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { createProfile } from '../../../lib/sse/profile.ts'
import { type Outcome, runScript, script } from '../client-script.ts'
import type { Ends } from '../ends.ts'
import { admin, startGateway, stranger } from '../gateway.ts'
import type { Fleet } from './parts.ts'

/** How far two runs of the script agree. */
export interface ScriptReport {
  readonly steps: number
  /** Steps that were answered differently, with both answers. */
  readonly differences: readonly string[]
}

// Keys of another key manager have other ids.
const shown = (outcome: Outcome | undefined): string =>
  [...(outcome ?? [])]
    .map(([name, value]) => `${name}=${/(KeyId|MasterKeyID)$/.test(name) ? 'a key' : value}`)
    .sort()
    .join(', ')

/** Runs the script of the AWS SDK against the fleet and against one gateway with an embedded index, both with the rules of S3. */
export const runScripts = async (ends: Ends, fleet: Fleet): Promise<ScriptReport> => {
  const { url, kms } = await startGateway(
    { teardown: ends.teardown },
    { profile: createProfile('s3', { region: fleet.region }) },
  )
  const key = async (): Promise<string> =>
    (await kms.createKey({ region: fleet.region, domainId: admin.domainId })).keyId
  const alone = await runScript({ url, users: [admin, stranger], keyIds: [await key(), await key()] })
  const together = await runScript(fleet)
  const differences = script.flatMap(([step]) => {
    const [one, all] = [shown(alone.get(step)), shown(together.get(step))]
    return one === all ? [] : [`${step}: alone ${one}; fleet ${all}`]
  })
  return { steps: script.length, differences }
}

/** Runs the tests of a client of Debian against the fleet, which has the rules of OBS; answers what failed, in the words of the tests. */
export const runClient = async (fleet: Fleet, name: string): Promise<string | undefined> => {
  const { url, region, users, ordinary } = fleet
  const env = {
    ...process.env,
    TAP_TIMEOUT: '300',
    COURSE_SERVER: JSON.stringify({ url, region, admin: users[0], user: ordinary }),
  }
  const cwd = fileURLToPath(new URL('../../..', import.meta.url))
  try {
    await promisify(execFile)(process.execPath, ['--import', 'tsx', `test/clients/${name}.test.ts`], { cwd, env })
    return undefined
  } catch (error) {
    const said = error instanceof Error && 'stdout' in error ? String(error.stdout) : String(error)
    return (
      said
        .split('\n')
        .filter(line => line.includes('not ok'))
        .slice(0, 5)
        .join('\n') || said.slice(-500)
    )
  }
}
