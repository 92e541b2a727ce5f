/**
 * What a request costs outside the gateway: calls to the key manager and requests to the storage of the bodies, by setting. Counted at the key
 * manager and at the storage themselves, behind everything that stands in between.
 */
import { setTimeout } from 'node:timers/promises'
import { createProfile } from '../../../lib/sse/profile.ts'
import { guarded, type GuardOptions } from '../../../lib/kms/decorators/guarded.ts'
import { type KeyRegister, registered } from '../../../lib/kms/registered.ts'
import { memoryKms } from '../../../lib/kms/testing/memory.ts'
import { createSse } from '../../../lib/object/node.ts'
import { openFileStore } from '../../../lib/store/file/store.ts'
import { s3Bodies } from '../../../lib/store/s3/bodies.ts'
import type { Ends } from '../ends.ts'
import { admin, region, startGateway, type TestGateway } from '../gateway.ts'

/** Calls of one request, when what comes once is there. */
export interface RequestCost {
  readonly request: string
  readonly keyManager: number
  readonly storage: number
}

/** What a setting costs. */
export interface CostReport {
  readonly setting: string
  readonly costs: readonly RequestCost[]
}

interface Setting {
  readonly name: string
  readonly guard: GuardOptions
  readonly encryption: Readonly<Record<string, string>>
}

const kms = { 'x-amz-server-side-encryption': 'aws:kms' }
const bare: GuardOptions = { cache: false, proof: false }

/** All settings: the default is the second one. */
export const settings: readonly Setting[] = [
  { name: 'SSE-KMS, no proof, no cache', guard: bare, encryption: kms },
  { name: 'SSE-KMS (default)', guard: {}, encryption: kms },
  {
    name: 'SSE-KMS, bucket key',
    guard: {},
    encryption: { ...kms, 'x-amz-server-side-encryption-bucket-key-enabled': 'true' },
  },
  { name: 'SSE-S3', guard: {}, encryption: { 'x-amz-server-side-encryption': 'AES256' } },
]

const mebibyte = 1_048_576

type Sizes = Readonly<Record<string, number>>

/** Bodies: in the index, one request upstream, parts upstream. */
export const sizes: Sizes = { '1 KiB': 1024, '1 MiB': mebibyte, '20 MiB': 20 * mebibyte }

/** A register of default keys, in memory. */
const register = (): KeyRegister => {
  const rows = new Map<string, string>()
  return {
    claim: async (name, value) => rows.get(name) ?? (rows.set(name, value), value),
    claims: async () => rows,
  }
}

const startUpstream = async (ends: Ends): Promise<TestGateway> => {
  const upstream = await startGateway({ teardown: ends.teardown }, { profile: createProfile('s3', { region }) })
  const { status } = await upstream.signedFetch(admin, 'PUT', '/bodies')
  if (status !== 200) throw new Error('the bucket of the bodies')
  return upstream
}

const costsOf = async (ends: Ends, { guard, encryption }: Setting, sizes: Sizes): Promise<readonly RequestCost[]> => {
  const upstream = await startUpstream(ends)
  let asked = 0
  const manager = memoryKms({
    fault: () => {
      asked++
      return undefined
    },
  })
  const { accessKeyId, secretAccessKey } = admin
  const config = { endpoint: upstream.url, region, forcePathStyle: true, credentials: { accessKeyId, secretAccessKey } }
  const keys = guarded(manager, guard)
  const sse = createSse({ kms: keys, accept: [] })
  const gateway = await startGateway(
    { teardown: ends.teardown },
    {
      openRows: directory =>
        openFileStore(directory, { sweepEvery: 0, grace: 0, bodies: s3Bodies({ bucket: 'bodies', config }) }),
      kms: registered(keys, { register: register() }),
      sse,
    },
  )
  const { store } = gateway
  const costs: RequestCost[] = []
  const count = async (request: string, work: () => Promise<unknown>): Promise<void> => {
    const before = { asked, sent: upstream.log.length }
    await work()
    await setTimeout(50) // the storage logs a request when its answer has gone
    costs.push({ request, keyManager: asked - before.asked, storage: upstream.log.length - before.sent })
  }
  const send = async (method: string, path: string, headers = {}, body?: Uint8Array | string): Promise<string> => {
    const { status, text } = await gateway.signedFetch(admin, method, path, {
      headers,
      ...(body !== undefined && { body }),
    })
    if (status >= 300) throw new Error(`${method} ${path}: ${status} ${text}`)
    return text
  }
  await send('PUT', '/photos')
  // What comes once: the default key, the bucket key, the state of the key.
  for (const name of ['first', 'second']) await send('PUT', `/photos/${name}`, encryption, name)
  for (const [name, size] of Object.entries(sizes)) {
    const path = `/photos/${size}`
    await count(`PUT ${name}`, () => send('PUT', path, encryption, Buffer.alloc(size, 1)))
    await count(`GET ${name}, first`, () => send('GET', path))
    await count(`GET ${name}, again`, () => send('GET', path))
    const source = { 'x-amz-copy-source': path }
    await count(`copy ${name}, same key`, () => send('PUT', `${path}-copy`, { ...encryption, ...source }))
    await send('DELETE', `${path}-copy`)
    await count(`DELETE ${name}, and the sweep after it`, async () => {
      await send('DELETE', path)
      await store.sweep()
    })
  }
  const path = '/photos/parts'
  let id = ''
  await count('initiate an upload', async () => {
    id = /<UploadId>(.*?)</.exec(await send('POST', `${path}?uploads`, encryption))?.[1] ?? ''
  })
  const tags: string[] = []
  for (const number of [1, 2]) {
    await count(`part ${number} of 8 MiB`, async () => {
      const body = Buffer.alloc(8 * mebibyte, number)
      const { headers, status } = await gateway.signedFetch(
        admin,
        'PUT',
        `${path}?partNumber=${number}&uploadId=${id}`,
        { body },
      )
      if (status !== 200) throw new Error(`part ${number}: ${status}`)
      tags.push(String(headers.etag))
    })
  }
  const parts = tags.map((tag, i) => `<Part><PartNumber>${i + 1}</PartNumber><ETag>${tag}</ETag></Part>`).join('')
  await count('complete it', () =>
    send('POST', `${path}?uploadId=${id}`, {}, `<CompleteMultipartUpload>${parts}</CompleteMultipartUpload>`),
  )
  await count('GET of both parts', () => send('GET', path))
  return costs
}

/** Counts everything, setting by setting. */
export const countCosts = async (ends: Ends, wanted = settings, of = sizes): Promise<readonly CostReport[]> => {
  const reports: CostReport[] = []
  for (const setting of wanted) reports.push({ setting: setting.name, costs: await costsOf(ends, setting, of) })
  return reports
}

/** The table, as Markdown. */
export const costsTable = (reports: readonly CostReport[]): string => {
  const rows = (reports[0]?.costs ?? []).map(({ request, storage }, i) => [
    request,
    ...reports.map(({ costs }) => costs[i]?.keyManager ?? ''),
    storage,
  ])
  const head = ['', ...reports.map(({ setting }) => `calls to the key manager: ${setting}`), 'requests to the storage']
  return [head, head.map(() => '---'), ...rows].map(cells => `| ${cells.join(' | ')} |`).join('\n')
}
