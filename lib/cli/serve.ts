/** `sse-kms serve`: runs the S3-compatible gateway until a signal stops it. */
import cluster from 'node:cluster'
import { once } from 'node:events'
import { type Arguments, type Command, command, commonOptions, type Option } from './command.ts'
import type { Config, LoadedConfig } from './config.ts'
import { needPackages } from './failure.ts'
import { type Io, note, print } from './io.ts'
import { notingNewRootKey, rootKeyFileOption } from './key-options.ts'
import { printable, printableJson } from './printable.ts'
import { stateLine } from './key-state.ts'
import type { RunningGateway } from './server.ts'
import type { Beginning } from './worker-messages.ts'

const options = {
  config: { value: 'FILE', help: 'the configuration, in JSON' },
  listen: { value: 'HOST:PORT', help: 'where to listen (default: 127.0.0.1:9000); port 0 takes any free port' },
  data: { value: 'DIR', help: 'folder of keys and objects (default: ./data)' },
  region: { value: 'REGION', help: 'region of the gateway (default: sichuan)' },
  profile: { value: 'obs|s3', help: 'rules to apply: those of OBS (default) or of Amazon S3' },
  'root-key-file': rootKeyFileOption,
  workers: { value: 'N|auto', help: 'processes that take requests (default: 1); auto: as many as processors' },
  log: { value: 'text|json|none', help: 'format of the request log on stderr (default: text)' },
  'sweep-all': { help: 'begin with an index that does not know the bodies: delete all that it does not know' },
  'print-schema': { help: 'print the JSON Schema of the configuration, and exit' },
  ...commonOptions,
} as const satisfies Record<string, Option>

type ServeArguments = Arguments<keyof typeof options>

/** Optional packages that the gateway needs. */
export const gatewayPackages: readonly string[] = ['zod', 'lmdb', 'fast-xml-parser']

/** Starts a gateway. */
export type StartGateway = (loaded: LoadedConfig) => Promise<RunningGateway>

const startInfo = (
  { address, admin }: RunningGateway,
  { region, profile, data, tenants }: Config,
  demo: LoadedConfig['demo'],
): string =>
  `${printableJson({ address, admin, region, profile, data, pid: process.pid, ...(demo === undefined ? {} : { demo: tenants }) })}\n`

/** Command lines to copy, with the demo tenant's credentials. */
const demoText = (
  address: string,
  { region, data, tenants }: Config,
  { path, isNew }: NonNullable<LoadedConfig['demo']>,
): string => {
  const aws = `aws --endpoint-url ${address}`
  const users = tenants.flatMap(tenant => tenant.users.map(user => ({ ...user, domainId: tenant.domainId })))
  return [
    '',
    `The demo tenant's credentials ${isNew ? 'were made and are kept in' : 'are in'} ${path}:`,
    '',
    ...users.flatMap(({ name, roles, domainId, accessKeyId, secretAccessKey }) => [
      `  # ${name}${roles.length > 0 ? ` (${roles.join(', ')})` : ''} of ${domainId}`,
      `  export AWS_ACCESS_KEY_ID=${accessKeyId} AWS_SECRET_ACCESS_KEY=${secretAccessKey} AWS_DEFAULT_REGION=${region}`,
    ]),
    '',
    'As the administrator, with the AWS CLI:',
    '',
    `  ${aws} s3 mb s3://photos`,
    `  ${aws} s3 cp FILE s3://photos/FILE --sse aws:kms`,
    `  ${aws} s3 cp s3://photos/FILE -`,
    `  ${aws} s3api head-object --bucket photos --key FILE`,
    '',
    'To list the master keys, also while the server runs:',
    '',
    `  npx sse-kms keys list --data ${data} --region ${region}`,
    '',
    '',
  ].join('\n')
}

/** The configuration; in a worker, the one that the primary process has read. */
const load = async (args: ServeArguments, io: Io, beginning?: Beginning): Promise<LoadedConfig> => {
  const { loadConfig } = await import('./config.ts')
  const workers = args.text('workers')
  const flags = {
    listen: args.text('listen'),
    data: args.text('data'),
    region: args.text('region'),
    profile: args.text('profile'),
    log: args.text('log'),
    workers: workers !== undefined && /^\d{1,9}$/.test(workers) ? Number(workers) : workers,
    rootKeyFile: args.text('root-key-file'),
    sweepAll: args.flag('sweep-all') && beginning?.isFirst !== false,
  }
  return loadConfig(args.text('config'), flags, io.env, beginning?.written)
}

/** What a SIGHUP takes over; the rest needs a new start. */
const reloaded: ReadonlySet<string> = new Set(['tenants', 'tls'])

/** Takes over a changed configuration, or keeps the old one and says why. */
const reload = async (gateway: RunningGateway, old: Config, args: ServeArguments, io: Io): Promise<void> => {
  try {
    const { config } = await load(args, io)
    await gateway.reload(config)
    const before = new Map<string, unknown>(Object.entries(old))
    const others = Object.entries(config).flatMap(([name, value]) =>
      reloaded.has(name) || JSON.stringify(value) === JSON.stringify(before.get(name)) ? [] : [name],
    )
    await note(io, 'took over tenants, users and certificates of the configuration')
    if (others.length > 0) await note(io, `start anew to take over what else changed: ${others.join(', ')}`)
  } catch (error) {
    await note(io, `the configuration stays as it is: ${error instanceof Error ? error.message : String(error)}`)
  }
}

/** Runs a worker of a server that was started with several. */
const work = async (args: ServeArguments, io: Io): Promise<void> => {
  const { startGateway } = await import('./server.ts')
  const { runWorker } = await import('./worker.ts')
  const parts = { load: async (beginning: Beginning) => (await load(args, io, beginning)).config, start: startGateway }
  await runWorker(parts)
}

/** `sse-kms serve` with a function that starts the gateway. */
export const serveWith = (start: StartGateway): Command =>
  command({
    name: 'serve',
    usage: ['[--config FILE] [--listen HOST:PORT] [--data DIR] [--region REGION] [--profile obs|s3]'],
    about: [
      'Serves an S3-compatible object store. Objects lie encrypted in the data folder, under keys of a key store in the ' +
        'same folder. Prints one line with the address. SIGTERM and SIGINT let the requests under way end, then stop ' +
        'the server; a second signal stops it at once. SIGHUP takes over tenants, users and certificates of the changed ' +
        'configuration, and opens audit file and access log anew; where the configuration is wrong, the old one stays.',
      'With --workers, requests are taken by several processes on one address. Send signals to the process that was started: it passes them ' +
        'on, and replaces a worker that ends.',
      'Flags override the configuration, and the configuration overrides the defaults. Paths are relative to the current ' +
        'directory. Without tenants in the configuration there is a demo tenant, whose credentials are printed.',
    ],
    options,
    examples: [
      'sse-kms serve',
      'sse-kms serve --config ./sse-kms.json --listen 0.0.0.0:9000 --log json',
      'sse-kms serve --print-schema > config.schema.json',
    ],
    positionals: 0,
    run: async (args, io) => {
      if (args.flag('print-schema')) {
        const { jsonSchema } = await import('./config-schema.ts')
        return print(io.stdout, `${JSON.stringify(jsonSchema(), undefined, 2)}\n`)
      }
      needPackages(gatewayPackages)
      if (cluster.isWorker) return work(args, io)
      const loaded = await load(args, io)
      const { config, demo } = loaded
      if (config.admin !== undefined) needPackages(['prom-client'])
      const gateway = await notingNewRootKey(io, config.rootKey, () => start(loaded))
      try {
        const { address } = gateway
        const line = `sse-kms listens on ${address} (region ${config.region}, profile ${config.profile}, data in ${printable(config.data)})\n${gateway.admin === undefined ? '' : `the operator's address is ${gateway.admin}: /livez, /readyz and /metrics\n`}`
        const text = demo === undefined ? line : line + demoText(address, config, demo)
        await print(io.stdout, args.flag('json') ? startInfo(gateway, config, demo) : text)
        for (const state of await gateway.checkKeys()) {
          await print(
            io.stderr,
            `${config.log === 'json' ? printableJson({ keyManager: state }) : printable(stateLine(state))}\n`,
          )
        }
        io.onHangup?.(() => void reload(gateway, config, args, io))
        if (!io.signal.aborted) {
          const cause = await Promise.race([once(io.signal, 'abort').then(() => undefined), gateway.broken])
          if (cause !== undefined) throw cause
        }
      } finally {
        await gateway.close()
      }
    },
  })

/** `sse-kms serve`. */
export const serve: Command = serveWith(async loaded => {
  if ((loaded.config.workers ?? 1) > 1) return (await import('./workers.ts')).startWorkers(loaded)
  const { startGateway } = await import('./server.ts')
  return startGateway(loaded.config)
})
