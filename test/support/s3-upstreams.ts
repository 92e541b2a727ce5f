/** S3-compatible storage of several makers, for bodies to lie in: our own gateway, Ceph's, and moto. */
import { CreateBucketCommand, S3Client, type S3ClientConfig } from '@aws-sdk/client-s3'
import { randomBytes } from 'node:crypto'
import type { Test } from 'tap'
import type { BodyStore } from '../../lib/store/body-store.ts'
import { createProfile } from '../../lib/sse/profile.ts'
import { s3Bodies, type S3BodiesOptions } from '../../lib/store/s3/bodies.ts'
import { noMoto, startMoto } from './aws.ts'
import { admin, region, startGateway } from './gateway.ts'
import { radosgwMissing, startRadosgw } from './radosgw.ts'

/** A storage that runs, with a bucket. */
export interface S3Upstream {
  readonly config: S3ClientConfig & { readonly endpoint: string }
  readonly bucket: string
  /** A client of its own, which the test's end closes. */
  readonly client: S3Client
  /** A body store of a fresh id in it, which the test's end closes. */
  bodies(options?: Partial<S3BodiesOptions>, storeId?: string): Promise<BodyStore>
}

const upstreamAt = async (t: Test, config: S3Upstream['config']): Promise<S3Upstream> => {
  const client = new S3Client(config)
  t.teardown(() => client.destroy())
  const bucket = 'bodies'
  await client.send(new CreateBucketCommand({ Bucket: bucket }))
  return {
    config,
    bucket,
    client,
    bodies: async (options = {}, storeId = randomBytes(16).toString('hex')) => {
      const store = await s3Bodies({ bucket, config, ...options })(storeId)
      t.teardown(() => store.close())
      return store
    },
  }
}

const common = { region, forcePathStyle: true }

/** Our own gateway, in this process. */
export const ownUpstream = async (t: Test): Promise<S3Upstream> => {
  const { url } = await startGateway(t, { profile: createProfile('s3', { region }) })
  return upstreamAt(t, { ...common, endpoint: url, credentials: admin })
}

/** The makers: why one cannot be had, and how it is started. The checksums are those that it knows. */
export const upstreams: Readonly<
  Record<
    string,
    {
      readonly missing: string | false
      readonly checksums: readonly ('crc32' | 'crc32c' | 'crc64nvme' | 'md5')[]
      readonly start: (t: Test) => Promise<S3Upstream>
    }
  >
> = {
  'our own gateway': { missing: false, checksums: ['crc32', 'crc32c', 'crc64nvme', 'md5'], start: ownUpstream },
  moto: {
    missing: noMoto,
    checksums: ['crc32', 'md5'],
    start: async t => {
      const moto = await startMoto()
      t.teardown(() => moto.stop())
      const { credentials } = moto.config
      const endpoint = String(moto.config.endpoint)
      return upstreamAt(t, { ...common, region: 'us-east-1', endpoint, ...(credentials && { credentials }) })
    },
  },
  radosgw: {
    missing: radosgwMissing,
    checksums: ['md5', 'crc32'],
    start: async t => {
      const { url, users } = await startRadosgw(t)
      return upstreamAt(t, { ...common, region: 'us-east-1', endpoint: url, credentials: users[0] })
    },
  },
}
