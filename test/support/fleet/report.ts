/** What a run of the fleet found, as tables in Markdown. */
import { kinds } from './load.ts'
import type { ScriptReport } from './course.ts'
import type { EventReport } from './events.ts'
import type { ThroughputReport } from './throughput.ts'

const table = (head: readonly string[], rows: readonly (readonly unknown[])[]): string =>
  [head, head.map(() => '---'), ...rows].map(cells => `| ${cells.join(' | ')} |`).join('\n')

const results = (found: Readonly<Record<string, number>>): string =>
  Object.entries(found)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([result, count]) => `${count.toLocaleString('en')} × ${result}`)
    .join(', ') || 'none'

const seconds = (value: number): string => `${value.toFixed(1)} s`

/** What clients saw of each event. */
export const eventsTable = (reports: readonly EventReport[]): string => {
  const requests = reports.flatMap(({ event, during }) =>
    kinds.map((kind, i) => [
      i === 0 ? event : '',
      kind,
      results(during[kind].results),
      `${during[kind].median} ms`,
      `${during[kind].slowest} ms`,
    ]),
  )
  const ends = reports.map(({ event, about, seconds: lasted, silence, recovered, objects, problems }) => [
    event,
    about,
    seconds(lasted),
    seconds(silence),
    seconds(recovered),
    `${objects} objects: ${problems.length === 0 ? 'all' : `**${problems.join('; ')}**`}`,
  ])
  const uploads = reports.flatMap(({ event, upload }) => (upload === undefined ? [] : [{ event, ...upload }]))
  return [
    table(['', 'requests', 'answers until all was well', 'median', 'slowest'], requests),
    '',
    table(
      ['', 'what', 'lasted', 'longest time without a success', 'last failure after its end', 'whole afterwards'],
      ends,
    ),
    ...uploads.map(
      ({ event, bytes, parts, again, seconds: took, whole }) =>
        `\nMeanwhile (${event}) an upload of ${(bytes / 1_048_576).toLocaleString('en')} MiB in ${parts} parts: ${again} requests were sent again, ` +
        `and the object came back ${whole ? 'whole' : '**with other bytes**'} (SHA-256), all in ${seconds(took)}.`,
    ),
  ].join('\n')
}

/** What clients can do. */
export const courseText = (
  { steps, differences }: ScriptReport,
  clients: Readonly<Record<string, string | undefined>>,
): string =>
  [
    `The script of the AWS SDK, ${steps} steps: ${
      differences.length === 0
        ? 'every answer is the one that a single process with an embedded index gives'
        : `**${differences.length} answers differ: ${differences.join('; ')}**`
    }. The course of other clients through haproxy: ${Object.entries(clients)
      .map(([name, failure]) => `${name} ${failure === undefined ? 'passed' : `**failed: ${failure}**`}`)
      .join(', ')}.`,
  ].join('\n')

/** Requests a second, and the ratio to those of one process. */
export const throughputTable = (reports: readonly ThroughputReport[]): string => {
  const first = reports.find(({ skipped }) => skipped === undefined)
  const rows = reports.map(({ processes, skipped, rates }) => [
    processes,
    skipped === undefined
      ? rates
          .map(({ method, size, perSecond }, i) => {
            const ratio = perSecond / (first?.rates[i]?.perSecond ?? perSecond)
            return `${method} ${size === 4096 ? '4 KiB' : '1 MiB'}: ${perSecond.toFixed(0)}/s (${ratio.toFixed(2)} ×)`
          })
          .join(', ')
      : `skipped: ${skipped}`,
  ])
  return table(['processes', 'requests a second'], rows)
}
