/** `sse-kms check`: looks whether a store is sound, beside the servers that use it. */
import { type CheckPlace, type CheckSummary, checkStore, type Finding } from '../store/check.ts'
import { SseError } from '../errors.ts'
import { verifyStored } from '../gateway/objects/verify.ts'
import { chooseEngine } from '../object/node.ts'
import { openBeside } from './beside.ts'
import { type Arguments, type Command, command, commonOptions, type Option } from './command.ts'
import { loadConfig } from './config.ts'
import { needPackages, usage } from './failure.ts'
import { type Io, note, print } from './io.ts'
import { rootKeyFileOption } from './key-options.ts'
import { printable, printableJson } from './printable.ts'
import { gatewayPackages } from './serve.ts'
import { openKeys, profileOf } from './server.ts'

const options = {
  config: { value: 'FILE', help: 'the configuration of the servers, in JSON' },
  data: { value: 'DIR', help: 'folder of keys and objects, as given to serve (default: ./data)' },
  region: { value: 'REGION', help: 'region of the gateway, as given to serve' },
  profile: { value: 'obs|s3', help: 'rules of the gateway, as given to serve' },
  'root-key-file': rootKeyFileOption,
  bucket: { value: 'BUCKET', help: 'only the objects and uploads of this bucket' },
  deep: { help: 'open every object too, and check every byte of it' },
  repair: { help: 'delete bodies that nothing refers to, and mend the index, where nothing can be lost' },
  'start-after': { value: 'BUCKET/KEY', help: 'go on behind this object, as the line of an interrupted check says' },
  ...commonOptions,
} as const satisfies Record<string, Option>

type CheckArguments = Arguments<keyof typeof options>

const startAfter = (text: string | undefined): CheckPlace | undefined => {
  if (text === undefined) return undefined
  const slash = text.indexOf('/')
  if (slash < 1) throw usage('--start-after needs BUCKET/KEY', 'See sse-kms help check.')
  return { bucket: text.slice(0, slash), key: text.slice(slash + 1) }
}

const nameOf = ({ bucket, key, upload, part }: Finding): string => {
  const object = key === undefined ? bucket : `${bucket}/${key}`
  const inUpload = upload === undefined ? object : `${object}, upload ${upload}`
  return part === undefined ? (inUpload ?? '') : `${inUpload}, part ${part}`
}

/** A line of the report. */
const lineOf = (finding: Finding): string => {
  const name = nameOf(finding)
  return `${finding.what}: ${name === '' ? '' : `${name}: `}${finding.message}${finding.mended ? ' (mended)' : ''}`
}

const count = (n: number, one: string, many = `${one}s`): string => `${n} ${n === 1 ? one : many}`

const summaryText = (summary: CheckSummary, deep: boolean): string => {
  const { buckets, objects, uploads, parts, bodies, opened, customerKeys, keysOff } = summary
  const seen = [
    count(buckets, 'bucket'),
    count(objects, 'object'),
    count(uploads, 'open upload'),
    count(parts, 'part'),
    count(bodies, 'body file'),
  ]
  const closed = [
    ...(customerKeys > 0 ? [`${count(customerKeys, 'object')} cannot be opened without the customer's key`] : []),
    ...(keysOff > 0
      ? [`${count(keysOff, 'object')} cannot be opened: the master key is disabled or pending deletion`]
      : []),
  ]
  return [`looked at ${seen.join(', ')}`, ...(deep ? [`opened ${count(opened, 'object')}`, ...closed] : [])].join('; ')
}

const faulty = (found: number, mended: number): SseError => {
  const left = found - mended
  const message =
    left === 0
      ? `${count(found, 'fault')} found, all mended. Check again.`
      : `${count(found, 'fault')} found, ${mended} mended. docs/operations.md says what to do about each kind.`
  return new SseError('StoreFaulty', { message })
}

/** Shows on a terminal how far a check is. */
const meter = ({ stderr }: Io) => {
  const isShown = stderr.isTTY === true
  let last = 0
  const show = ({ bucket, key }: CheckPlace, { objects }: CheckSummary): void => {
    if (!isShown || Date.now() - last < 200) return
    last = Date.now()
    stderr.write(`\r\u001b[K${count(objects, 'object')}, at ${printable(`${bucket}/${key}`).slice(0, 60)}`)
  }
  const clear = (): void => {
    if (isShown && last > 0) stderr.write('\r\u001b[K')
  }
  return { show, clear }
}

const runCheck = async (args: CheckArguments, io: Io): Promise<void> => {
  needPackages(gatewayPackages)
  const flags = {
    data: args.text('data'),
    region: args.text('region'),
    profile: args.text('profile'),
    rootKeyFile: args.text('root-key-file'),
    makeDemo: false,
  }
  const after = startAfter(args.text('start-after'))
  const { config } = await loadConfig(args.text('config'), flags, io.env)
  const [deep, repair, json] = [args.flag('deep'), args.flag('repair'), args.flag('json')]
  const engine = await chooseEngine()
  const rows = await openBeside(config)
  const findings: Finding[] = []
  const lines = meter(io)
  let place = after
  let pending: Promise<unknown> = Promise.resolve()
  const say = (text: string): void => {
    lines.clear()
    pending = pending.then(() => print(io.stdout, `${text}\n`))
    pending.catch(() => undefined)
  }
  try {
    const { store, kms, sse, keys } = await openKeys(config, rows, engine)
    const services = { kms, sse, profile: profileOf(config) }
    try {
      const summary = await checkStore(store, {
        bucket: args.text('bucket'),
        startAfter: after,
        repair,
        open: deep ? (bucket, key, object) => verifyStored(services, bucket, key, object) : undefined,
        signal: io.signal,
        onFinding: finding => {
          findings.push(finding)
          if (!json) say(printable(lineOf(finding)))
        },
        onProgress: (at, sofar) => {
          place = at
          lines.show(at, sofar)
        },
      })
      say(json ? printableJson({ ...summary, findings }) : summaryText(summary, deep))
    } finally {
      sse.dispose()
      await keys.close()
    }
  } catch (error) {
    lines.clear()
    if (place !== undefined && place !== after) {
      await note(io, `to go on from here, give --start-after ${JSON.stringify(`${place.bucket}/${place.key}`)}`)
    }
    throw error
  } finally {
    await pending
    await rows.close()
  }
  if (findings.length > 0) throw faulty(findings.length, findings.filter(({ mended }) => mended).length)
}

/** `sse-kms check`. */
export const check: Command = command({
  name: 'check',
  usage: ['[--config FILE | --data DIR] [--bucket BUCKET] [--deep] [--repair] [--start-after BUCKET/KEY]'],
  about: [
    'Checks the store of a gateway while its servers run: that every row of the index is authentic, that every body that ' +
      'an object, an upload or a part has is there with its size, that the index adds up, and that no body is there that ' +
      "nothing refers to. With --deep every object is opened and read to its end too; those under a customer's key are " +
      'counted only. Takes the configuration, the environment and the flags of the servers.',
    'Nothing is changed without --repair. That deletes bodies that nothing refers to and mends counts, and never deletes an ' +
      'object or an upload: what is missing is reported only. Prints a line for each fault, and one with what was looked ' +
      'at; with --json one report. The exit status is 0 where the store is sound, and 4 where there are faults. An ' +
      'interrupted check says how to go on.',
  ],
  options,
  examples: [
    'sse-kms check --config ./sse-kms.json',
    'sse-kms check --data ./data --bucket photos --deep',
    'sse-kms check --config ./sse-kms.json --repair --json',
  ],
  positionals: 0,
  run: runCheck,
})
