/** The store of a server's configuration and its keys, for a command that works on one bucket while servers may run. */
import { randomUUID } from 'node:crypto'
import { SseError } from '../errors.ts'
import { limitsOf } from '../gateway/limits.ts'
import type { Place } from '../gateway/objects/encryption.ts'
import { createServices, forRequest, type Services } from '../gateway/services.ts'
import type { AcceptedKey, DataKeyWrapper, KeyAdministration } from '../kms/provider.ts'
import { chooseEngine } from '../object/node.ts'
import type { BucketRevision } from '../store/records.ts'
import type { ObjectStore } from '../store/store.ts'
import { openBeside } from './beside.ts'
import type { Arguments, Option } from './command.ts'
import { type Config, loadConfig } from './config.ts'
import { needPackages, usage } from './failure.ts'
import { openAudit } from './log.ts'
import { type Io, note } from './io.ts'
import { rootKeyFileOption } from './key-options.ts'
import { gatewayPackages } from './serve.ts'
import { openKeys, profileOf } from './server.ts'

type BulkStoreOption = 'config' | 'data' | 'region' | 'root-key-file' | 'bucket' | 'prefix'

/** Options that name a store and what of it is worked on. */
export const bulkStoreOptions: Readonly<Record<BulkStoreOption, Option>> = {
  config: { value: 'FILE', help: 'the configuration of sse-kms serve; servers may run meanwhile' },
  data: { value: 'DIR', help: 'folder of keys and objects, as given to serve (default: ./data)' },
  region: { value: 'REGION', help: 'region of the gateway, as given to serve' },
  'root-key-file': rootKeyFileOption,
  bucket: { value: 'BUCKET', help: 'the bucket to work on' },
  prefix: { value: 'PREFIX', help: 'only objects whose keys begin so' },
}

/** A bucket to work on. */
export interface OpenedBucket {
  readonly config: Config
  /** The store, its rows under their MAC. */
  readonly store: ObjectStore
  readonly services: Services
  /** The same services for one object: uses of keys go to the audit with its name. */
  servicesFor(key: string): Services
  /** The bucket as it is now, and the tenant that owns it. */
  place(): Place
  /** Runs a change of what is in the bucket, again where the bucket's settings have changed meanwhile. `NoSuchBucket` where it is gone. */
  commit<T>(change: (bucket: BucketRevision) => Promise<T>): Promise<T>
  /** Calls to key managers so far. */
  calls(): number
  close(): Promise<void>
}

const counter =
  (onCall: () => void) =>
  <A extends readonly unknown[], R>(ask: (...args: A) => R) =>
  (...args: A): R => {
    onCall()
    return ask(...args)
  }

const countedWrapper = (manager: DataKeyWrapper, onCall: () => void): DataKeyWrapper => {
  const count = counter(onCall)
  const { holds } = manager
  return {
    name: manager.name,
    bindsContext: manager.bindsContext,
    ...(holds && { holds: keyId => holds.call(manager, keyId) }),
    generateDataKey: count(manager.generateDataKey.bind(manager)),
    wrapDataKey: count(manager.wrapDataKey.bind(manager)),
    unwrapDataKey: count(manager.unwrapDataKey.bind(manager)),
    rewrapDataKey: count(manager.rewrapDataKey.bind(manager)),
  }
}

/** Counts questions to key managers; which keys are accepted is asked once for each key. */
const counted = (kms: KeyAdministration, onCall: () => void): KeyAdministration => {
  const accepted = new Map<string, Promise<readonly AcceptedKey[]>>()
  const count = counter(onCall)
  const ask = count(kms.acceptedKeys.bind(kms))
  return {
    recordsDefaults: kms.recordsDefaults,
    describeKey: count(kms.describeKey.bind(kms)),
    defaultKey: count(kms.defaultKey.bind(kms)),
    acceptedKeys: (scope, call) => {
      const name = JSON.stringify([scope.region, scope.domainId, scope.keyId, scope.origin])
      const known = accepted.get(name)
      if (known !== undefined) return known
      const asked = ask(scope, call)
      accepted.set(name, asked)
      asked.catch(() => accepted.delete(name))
      return asked
    },
  }
}

const noBucket = (name: string): SseError =>
  new SseError('NoSuchBucket', { message: `There is no bucket ${name}. Name one that exists with --bucket.` })

/** Opens the bucket that a command names; `action` is what the audit says. */
export const openBucket = async (args: Arguments<BulkStoreOption>, io: Io, action: string): Promise<OpenedBucket> => {
  const name = args.text('bucket')
  if (name === undefined) throw usage(`${action} needs --bucket BUCKET`, `See sse-kms help ${action}.`)
  needPackages(gatewayPackages)
  const flags = { data: args.text('data'), region: args.text('region'), rootKeyFile: args.text('root-key-file') }
  const { config } = await loadConfig(args.text('config'), flags, io.env)
  const warn = (message: string) => void note(io, `warning: ${message}`)
  const audit = config.audit === undefined ? undefined : await openAudit(config.audit, { warn, shared: true })
  const closing: (() => unknown)[] = [() => audit?.close()]
  const close = async (): Promise<void> => {
    for (const end of closing.splice(0).reverse()) await end()
  }
  try {
    const rows = await openBeside(config)
    closing.push(() => rows.close())
    let calls = 0
    const onCall = (): void => void calls++
    const { keys, kms, sse, store } = await openKeys(config, rows, await chooseEngine(), manager =>
      countedWrapper(manager, onCall),
    )
    closing.push(
      () => keys.close(),
      () => sse.dispose(),
    )
    const administration = counted(kms, onCall)
    const { tenants } = config
    const gateway = { store, kms: administration, sse, profile: profileOf(config), tenants, users: [] }
    const services = createServices(gateway, limitsOf(config.limits))
    const requestId = randomUUID().replaceAll('-', '').slice(16).toUpperCase()
    const nobody = { user: undefined, accessKeyId: undefined, tenant: undefined }
    const servicesFor = (key: string): Services =>
      forRequest(
        services,
        {
          signal: new AbortController().signal,
          onKeyUse: use =>
            audit?.write({ time: new Date().toISOString(), requestId, ...nobody, action, bucket: name, key, ...use }),
        },
        undefined,
      )
    let bucket = await store.getBucket(name)
    const owner = tenants.find(({ domainId }) => domainId === bucket?.owner)
    if (bucket === undefined) throw noBucket(name)
    if (owner === undefined) {
      throw new SseError('InvalidConfig', {
        message: `The bucket ${name} belongs to the tenant ${bucket.owner}, which the configuration does not name. Add it.`,
      })
    }
    const { id } = bucket
    let current = bucket
    const commit = async <T>(change: (bucket: BucketRevision) => Promise<T>): Promise<T> => {
      for (;;) {
        try {
          return await change(current)
        } catch (error) {
          if (!(error instanceof SseError) || error.code !== 'BucketChanged') throw error
          bucket = await store.getBucket(name)
          if (bucket?.id !== id) throw noBucket(name)
          current = bucket
        }
      }
    }
    const place = (): Place => ({ bucket: current, owner })
    return { config, store, services, servicesFor, place, commit, calls: () => calls, close }
  } catch (error) {
    await close()
    throw error
  }
}
