/**
 * The program of the child process that tries the engine over OpenSSL for `trial.ts`: loads it, tests it, and says why not, if it says
 * anything. An argument `anywhere` lets it try where no test has run before.
 */
import { fileURLToPath } from 'node:url'
import { selfTest } from '../choose.ts'
import { loadEngine } from './load.ts'

/** What the tests of this engine have run on: linux with glibc, x64, and these majors of Node. */
const testedMajors: readonly string[] = ['20', '22', '24', '26']

const libc = (): string => {
  Object.assign(process.report, { excludeNetwork: true }) // which takes long, where Node can leave it out
  const report: { readonly header?: { readonly glibcVersionRuntime?: string } } = process.report.getReport()
  return report.header?.glibcVersionRuntime === undefined ? ' without glibc' : ''
}

const untested = (): string | undefined => {
  const { platform, arch, versions } = process
  const [major = ''] = versions.node.split('.')
  const place = `${platform} ${arch}${platform === 'linux' ? libc() : ''}`
  if (place === 'linux x64' && testedMajors.includes(major)) return undefined
  return `it was not tested on Node ${major}, ${place}; SSE_KMS_ENGINE=openssl tries it`
}

const probe = async (anywhere: boolean): Promise<string | undefined> => {
  const reason = anywhere ? undefined : untested()
  if (reason !== undefined) return reason
  try {
    await selfTest(await loadEngine())
    return undefined
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.send?.({ reason: await probe(process.argv[2] === 'anywhere') })
}
