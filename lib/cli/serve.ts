/** `sse-kms serve`: the S3-compatible gateway, from its configuration to its end. */
import { once } from 'node:events'
import type { Arguments, Option } from './arguments.ts'
import { command, type Command, commonOptions } from './command.ts'
import type { Config } from './config.ts'
import type { Demo } from './demo.ts'
import { type Io, print } from './io.ts'
import { tellingOfRootKey } from './key-store.ts'

const options = {
  config: { value: 'FILE', help: 'the configuration, JSON; without it a demo tenant is made' },
  listen: { value: 'HOST:PORT', help: 'where to listen (127.0.0.1:9000); port 0 takes a free one' },
  data: { value: 'DIR', help: 'folder of keys and objects (./data)' },
  region: { value: 'REGION', help: 'region that is served (sichuan)' },
  profile: { value: 'obs|s3', help: 'whose rules hold (obs)' },
  'root-key-file': {
    value: 'FILE',
    help: 'its root key; else $SSE_KMS_ROOT_KEY, else $SSE_KMS_PASSPHRASE, else root.key in DIR',
  },
  log: { value: 'text|json|none', help: 'how requests are logged, to stderr (text)' },
  'print-schema': { help: 'print the JSON Schema of the configuration, and start nothing' },
  ...commonOptions,
} as const satisfies Record<string, Option>

type ServeArguments = Arguments<keyof typeof options>

/** A gateway that listens. */
export interface RunningGateway {
  /** Its URL, such as `http://127.0.0.1:9000`. */
  readonly address: string
  /** Lets the requests under way end, then closes everything. */
  close(): Promise<void>
}

/** Starts the gateway. */
export type StartGateway = (config: Config) => Promise<RunningGateway>

const startInfo = (address: string, { region, profile, data, tenants }: Config, demo: Demo | undefined): string =>
  `${JSON.stringify({ address, region, profile, data, pid: process.pid, ...(demo === undefined ? {} : { demo: tenants }) })}\n`

/** Lines to copy and paste, with the demo tenant's credentials. */
const demoText = (address: string, { region, data, tenants }: Config, { path, isNew }: Demo): string => {
  const aws = `aws --endpoint-url ${address}`
  const users = tenants.flatMap(tenant => tenant.users.map(user => ({ ...user, domainId: tenant.domainId })))
  return [
    '',
    `The demo tenant's credentials ${isNew ? 'were made and are kept in' : 'are those of'} ${path}:`,
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
    'And its master keys, while the server runs:',
    '',
    `  sse-kms keys list --data ${data} --region ${region}`,
    '',
    '',
  ].join('\n')
}

const load = async (
  args: ServeArguments,
  io: Io,
): Promise<{ readonly config: Config; readonly demo: Demo | undefined }> => {
  const { loadConfig } = await import('./config.ts')
  const flags = {
    listen: args.text('listen'),
    data: args.text('data'),
    region: args.text('region'),
    profile: args.text('profile'),
    log: args.text('log'),
    rootKeyFile: args.text('root-key-file'),
  }
  return loadConfig(args.text('config'), flags, io.env)
}

/** `sse-kms serve` over whatever starts a gateway. */
export const serveWith = (start: StartGateway): Command =>
  command({
    name: 'serve',
    usage: ['[--config FILE] [--listen HOST:PORT] [--data DIR] [--region REGION] [--profile obs|s3]'],
    about: [
      'Serves an S3-compatible object store whose objects lie encrypted in the data folder, under keys of a key store in ' +
        'the same folder. Says on one line what it listens on, and ends in good order on SIGTERM and SIGINT; a second ' +
        'one ends it at once.',
      'Flags go before the configuration, the configuration before the defaults. Relative paths count from the current ' +
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
      const { config, demo } = await load(args, io)
      const gateway = await tellingOfRootKey(io, config.rootKey, () => start(config))
      try {
        const { address } = gateway
        const line = `sse-kms listens on ${address} (region ${config.region}, profile ${config.profile}, data in ${config.data})\n`
        const text = demo === undefined ? line : line + demoText(address, config, demo)
        await print(io.stdout, args.flag('json') ? startInfo(address, config, demo) : text)
        if (!io.signal.aborted) await once(io.signal, 'abort')
      } finally {
        await gateway.close()
      }
    },
  })

/** `sse-kms serve`. */
export const serve: Command = serveWith(async config => {
  const { startGateway } = await import('./gateway.ts')
  return startGateway(config)
})
