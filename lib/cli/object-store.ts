/** The store of a configuration: checked, with its secrets, and opened when it is needed. Its packages are optional, and loaded by those that need them. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { SseError } from '../errors.ts'
import { needPackages } from './failure.ts'
import type { BodyStoreMaker } from '../store/body-store.ts'
import { openBodyFiles } from '../store/file/disk.ts'
import { openFileStore } from '../store/file/store.ts'
import type { ExpiredUpload, ObjectStore } from '../store/store.ts'
import type { Environment } from './io.ts'
import { invalidConfig, secretOf, secretSource } from './secrets.ts'
import type { StoreFile } from './store-schema.ts'

/** How a store is opened. */
export interface OpenStoreOptions {
  /** See `sweepAll` of the store. */
  readonly sweepAll: boolean | undefined
  /** See `sweepEvery` of the store. */
  readonly sweepEvery?: number | undefined
  /** See `uploadAge` of the store. */
  readonly uploadAge?: number | undefined
  /** See `onUploadExpired` of the store. */
  readonly onUploadExpired?: ((upload: ExpiredUpload) => void) | undefined
  /** Told when the process can use the store no more. */
  readonly onBroken?: ((error: SseError) => void) | undefined
}

/** The store of a configuration. */
export interface StoreSetup {
  /** Whether its index is in the data folder. */
  readonly embedded: boolean
  /** Whether its bodies are files of this machine. */
  readonly files: boolean
  /** Opens it; the folder is that of a store on this machine. */
  open(folder: string, options: OpenStoreOptions): Promise<ObjectStore>
}

type Place = { readonly env: Environment; readonly where: string }
type S3 = Extract<StoreFile['bodies'], object>['s3']
type Postgres = Extract<StoreFile['index'], object>['postgres']

const s3BodiesOf = (file: S3, { env, where }: Place): (() => Promise<BodyStoreMaker>) => {
  const { bucket, prefix, region, endpoint, pathStyle, accessKeyId, secretAccessKey, checksum, partMiB } = file
  const path = 'store.bodies.s3'
  if ((accessKeyId === undefined) !== (secretAccessKey === undefined)) {
    throw invalidConfig(where, `${path}: accessKeyId and secretAccessKey are given both or not at all`)
  }
  const secret = secretAccessKey && {
    read: secretSource(secretAccessKey, { env, where, path: `${path}.secretAccessKey` }),
  }
  return async () => {
    needPackages(['@aws-sdk/client-s3'])
    const { s3Bodies } = await import('../store/s3/bodies.ts')
    const config = {
      forcePathStyle: pathStyle,
      ...(region === undefined ? {} : { region }),
      ...(endpoint === undefined ? {} : { endpoint }),
      ...(accessKeyId === undefined || secret === undefined || secret === ''
        ? {}
        : { credentials: async () => ({ accessKeyId, secretAccessKey: secret.read() }) }),
    }
    return s3Bodies({
      bucket,
      prefix,
      checksum,
      config,
      partSize: partMiB * 1_048_576,
      partsInFlight: file.partsInFlight,
    })
  }
}

const connectionOf = ({ url, ca }: Postgres, { env, where }: Place) => {
  const path = 'store.index.postgres'
  const connectionString = secretOf(url, { env, where, path: `${path}.url` })
  if (!/^postgres(?:ql)?:\/\//.test(connectionString)) {
    throw invalidConfig(where, `${path}.url: expected postgres://USER:PASSWORD@HOST:PORT/DATABASE`)
  }
  if (ca === undefined) return { connectionString }
  try {
    return { connectionString, ssl: { ca: readFileSync(ca, 'utf8') } }
  } catch (error) {
    const reason = error instanceof Error ? error.message : ''
    throw invalidConfig(where, `${path}.ca: the file cannot be read: ${reason}`)
  }
}

/** The store of a configuration. Throws `InvalidConfig` where a secret or a certificate is missing. */
export const storeSetup = ({ index, bodies, graceSeconds }: StoreFile, place: Place): StoreSetup => {
  const upstream = bodies === 'files' ? undefined : s3BodiesOf(bodies.s3, place)
  const grace = graceSeconds * 1000
  if (index === 'embedded') {
    return {
      embedded: true,
      files: upstream === undefined,
      open: async (folder, options) => openFileStore(folder, { ...options, grace, bodies: await upstream?.() }),
    }
  }
  const { connections } = index.postgres
  const connection = connectionOf(index.postgres, place)
  return {
    embedded: false,
    files: upstream === undefined,
    open: async (folder, { onBroken: _none, ...options }) => {
      needPackages(['pg'])
      const { openPostgresStore } = await import('../store/postgres/store.ts')
      const files: BodyStoreMaker = id => openBodyFiles(join(folder, 'shared', id))
      return openPostgresStore({ ...options, connection, connections, grace, bodies: (await upstream?.()) ?? files })
    },
  }
}
