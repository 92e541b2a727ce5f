/**
 * `npm run conformance`: runs the conformance suite on every key manager that is here, and prints provider x case. `--json` prints it for
 * machines; `--write` puts the table into docs/conformance.md. Exit status 1 where a case failed.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { format } from 'prettier'
import { type ConformanceReport, type ConformanceSetup, conformanceCases, runConformance } from '../../lib/testing.ts'
import { noMoto, startMoto } from './aws.ts'
import { startHuawei } from './huawei.ts'
import { kmipMissing, startKmip } from './kmip.ts'
import { localSetup } from './local-kms.ts'
import { memorySetup } from './memory-kms.ts'
import { noSoftHsm, noSoftoken, startSoftHsm, startSoftoken, type StartToken } from './pkcs11.ts'
import { startVault } from './vault.ts'

/** A column of the table. */
export interface Column {
  readonly name: string
  /** What answered. */
  readonly component: string
  /** Whether it was the real one. */
  readonly real: boolean
  /** Why it cannot run here. */
  readonly missing: string | false
  start(directory: string): Promise<ConformanceSetup>
}

const token =
  (start: StartToken): Column['start'] =>
  async directory => {
    const { kms, keyId, otherKeyId, options, remove, putBack, stop } = await start(directory)
    const away = async () => {
      remove()
      return async () => {
        putBack()
        await sleep(1050)
      }
    }
    // NSS keeps its files open.
    const unavailable = options.instance === 'nss1' ? undefined : away
    return { kms, keyId, otherKeyId, missing: `${options.instance}:id=00FF00FF`, unavailable, stop }
  }

/** All key managers. */
export const columns: readonly Column[] = [
  { name: 'local', component: 'the embedded key store', real: true, missing: false, start: localSetup },
  { name: 'memory', component: 'for tests', real: true, missing: false, start: () => memorySetup() },
  { name: 'pkcs11', component: 'SoftHSM 2', real: true, missing: noSoftHsm, start: token(startSoftHsm) },
  { name: 'pkcs11', component: 'NSS softoken', real: true, missing: noSoftoken, start: token(startSoftoken) },
  {
    name: 'kmip',
    component: 'PyKMIP',
    real: true,
    missing: kmipMissing,
    start: async () => {
      const { kms, keyId, otherKeyId, stop } = await startKmip()
      return { kms, keyId, otherKeyId, missing: keyId.replace(/:.*/, ':999999'), stop }
    },
  },
  { name: 'aws-kms', component: "Amazon's SDK and moto", real: false, missing: noMoto, start: startMoto },
  { name: 'vault-transit', component: 'a stand-in', real: false, missing: false, start: () => startVault() },
  { name: 'huawei-kms', component: 'a stand-in', real: false, missing: false, start: startHuawei },
]

/** A column that ran, or why it did not. */
type Ran = Column & { readonly report: ConformanceReport | undefined }

/** Runs the columns, one after the other. */
export const runColumns = async (
  chosen: readonly Column[],
  onColumn: (column: Ran) => void,
): Promise<readonly Ran[]> => {
  const ran: Ran[] = []
  const directory = mkdtempSync(join(tmpdir(), 'conformance-'))
  try {
    for (const column of chosen) {
      const report = column.missing === false ? await runConformance(await column.start(directory)) : undefined
      ran.push({ ...column, report })
      onColumn({ ...column, report })
    }
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
  return ran
}

const cellOf = ({ report, missing }: Ran, name: string): string => {
  if (report === undefined) return missing === false ? '' : 'not here'
  const { outcome } = report.results.find(result => result.name === name) ?? { outcome: 'not applicable' }
  return outcome === 'passed' ? 'yes' : outcome === 'failed' ? '**no**' : '–'
}

/** The table, and under it why cases do not apply. */
export const markdownOf = (ran: readonly Ran[]): string => {
  const head = ['case', ...ran.map(({ name, component }) => `${name}<br>${component}`)]
  const met = [
    'real component',
    ...ran.map(({ real, report }) => (report === undefined ? 'not here' : real ? 'yes' : 'no')),
  ]
  const rows = conformanceCases.map(({ name, about }) => [
    `${name}: ${about.replace(/\.$/, '')}`,
    ...ran.map(column => cellOf(column, name)),
  ])
  const lines = [head, head.map(() => '---'), met, ...rows].map(cells => `| ${cells.join(' | ')} |`)
  const reasons = ran.flatMap(({ name, component, report }) =>
    (report?.results ?? [])
      .filter(({ outcome }) => outcome !== 'passed')
      .map(({ name: each, outcome, reason }) => `- ${name} (${component}), ${each}: ${outcome}, ${reason ?? ''}`),
  )
  return `${lines.join('\n')}\n\nWhat does not apply (–), and why:\n\n${reasons.join('\n')}\n`
}

const main = async (): Promise<void> => {
  const ran = await runColumns(columns, ({ name, component, missing, report }) => {
    const failed = report?.results.filter(({ outcome }) => outcome === 'failed') ?? []
    const text = report === undefined ? `skipped: ${missing}` : failed.length === 0 ? 'passed' : 'FAILED'
    process.stderr.write(`${name} (${component}): ${text}\n`)
    for (const { name: each, reason } of failed) process.stderr.write(`  ${each}: ${reason}\n`)
  })
  const table = markdownOf(ran)
  if (process.argv.includes('--json')) {
    const results = ran.map(({ name, component, real, missing, report }) => ({
      name,
      component,
      real,
      missing,
      report,
    }))
    process.stdout.write(`${JSON.stringify(results, undefined, 2)}\n`)
  } else process.stdout.write(table)
  if (process.argv.includes('--write')) {
    const path = fileURLToPath(new URL('../../docs/conformance.md', import.meta.url))
    const text = readFileSync(path, 'utf8')
    const marked = /(<!-- conformance -->\n).*(?=<!-- end -->)/s
    const next = text.replace(marked, (_, open: string) => `${open}\n${table}\n`)
    writeFileSync(path, await format(next, { parser: 'markdown', printWidth: 140, proseWrap: 'preserve' }))
  }
  if (ran.some(({ report }) => report?.passed === false)) process.exitCode = 1
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main()
