/** What a command that worked on each object of a bucket tells at its end. */
import { leftLines, type LeftObjects, type Tally } from './bulk.ts'
import type { OpenedBucket } from './bulk-store.ts'
import { type Io, print } from './io.ts'
import { type KeyCount, keyCountLines } from './key-counts.ts'
import { printable, printableJson } from './printable.ts'

/** A report, as `--json` prints it. */
export interface BulkReport extends Tally {
  readonly bucket: string
  readonly prefix: string | undefined
  /** The key that objects were to lie under. */
  readonly to: string
  readonly dryRun: boolean
  /** Bytes of plaintext of the objects that were changed. */
  readonly bytes: number
  /** Calls to key managers. */
  readonly kmsCalls: number
  /** When the last look at every row began: ISO 8601. */
  readonly scanned: string
  readonly keys: readonly KeyCount[]
}

/** What a report is made of beside its tally. */
export interface ReportParts extends Pick<BulkReport, 'prefix' | 'to' | 'dryRun' | 'bytes' | 'scanned' | 'keys'> {
  readonly tally: Tally
  /** Open uploads that keep what they are. */
  readonly uploads: LeftObjects | undefined
}

/** The report. */
export const reportOf = (opened: OpenedBucket, { tally, uploads, ...parts }: ReportParts): BulkReport => ({
  bucket: opened.place().bucket.name,
  ...tally,
  left: uploads === undefined || uploads.count === 0 ? tally.left : [...tally.left, uploads],
  kmsCalls: opened.calls(),
  ...parts,
})

/** `done` says what was done, and `bytes` what became of the bodies. */
interface Words {
  readonly done: string
  readonly bytes: string
}

const linesOf = (report: BulkReport, words: Words): readonly string[] => {
  const { bucket, prefix, objects, changed, already, other, left, seconds, dryRun, bytes, kmsCalls, scanned } = report
  const where = `bucket ${bucket}${prefix === undefined ? '' : `, keys that begin with ${printable(prefix)}`}`
  const rate = seconds > 0 ? Math.round(changed / seconds) : 0
  const done = `${changed} ${dryRun ? 'would be ' : ''}${words.done} ${printable(report.to)}`
  return [
    `${where}: ${objects} objects looked at`,
    `${done}, ${already} were there, ${other} others`,
    `${kmsCalls} calls to key managers, ${bytes} bytes ${words.bytes}, ${seconds.toFixed(1)} s, ${rate} objects/s`,
    ...leftLines(left),
    `what lies under which key, by a look at every row that began at ${scanned}:`,
    ...keyCountLines(report.keys),
  ]
}

/** Prints a report: lines and what else there is to say, or JSON with what else is in it. */
export const printReport = async (
  io: Io,
  json: boolean,
  report: BulkReport,
  words: Words,
  more: { readonly lines: readonly string[]; readonly fields: object } = { lines: [], fields: {} },
): Promise<void> => {
  const text = json
    ? printableJson({ ...report, ...more.fields }, 2)
    : [...linesOf(report, words), ...more.lines].join('\n')
  await print(io.stdout, `${text}\n`)
}
