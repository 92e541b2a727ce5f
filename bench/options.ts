/** The command line of the benchmarks. */
import { parseArgs } from 'node:util'
import type { Extent } from './harness.ts'

/** What `--help` prints. */
export const help = `npm run bench [-- OPTIONS]

Measures this package: in quick form in about two minutes, more where the machine is busy; the build before it not counted.

  --full           larger bodies, more rounds, no time limits
  --tiny           smallest bodies and counts, one round: only to see that everything runs
  --only NAME      only this case; may be given several times
  --list           the cases, and nothing else
  --json FILE      also writes the results for machines
  --save           also writes bench/results/: results, plot, and the goals as README.md; with --compare a table
  --untuned        without tuneMemory(), for comparison
  --flame          writes bench/results/flame-*.svg, where the time of sealing and opening goes, and measures nothing
  --compare REV    measures this build and that of a revision of this repository in turn: ratios of new to old
  --help           this text

Progress goes to stderr. Contestants that are not there (a command, a rival, an engine) are left out, in one line each.
SIO_DIR=FOLDER names a checkout of minio/sio, which is then measured where the command go is installed.`

/** What was asked for. */
export interface Options {
  readonly extent: Extent
  readonly only: readonly string[]
  readonly list: boolean
  readonly json: string | undefined
  readonly save: boolean
  readonly flame: boolean
  readonly untuned: boolean
  readonly compare: string | undefined
  readonly help: boolean
}

/** Parses the arguments; `TypeError` for one that is unknown. */
export const parseOptions = (args: readonly string[]): Options => {
  const { values } = parseArgs({
    args: [...args],
    options: {
      full: { type: 'boolean', default: false },
      tiny: { type: 'boolean', default: false },
      only: { type: 'string', multiple: true, default: [] },
      list: { type: 'boolean', default: false },
      json: { type: 'string' },
      save: { type: 'boolean', default: false },
      flame: { type: 'boolean', default: false },
      untuned: { type: 'boolean', default: false },
      compare: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  })
  const { full, tiny, only, list, json, save, flame, untuned, compare, help } = values
  if (full && tiny) throw new TypeError('choose one of --full and --tiny')
  if (save && tiny) throw new TypeError('--save keeps runs that say something: without --tiny')
  return { extent: full ? 'full' : tiny ? 'tiny' : 'quick', only, list, json, save, flame, untuned, compare, help }
}
