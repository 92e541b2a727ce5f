/**
 * Uploads of many parts: what Complete and GET ask of the store, counted. `PARTS=10000 npx tap test/gateway/many-parts.test.ts` says how long they
 * take.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { BodyStore } from '../../lib/store/body-store.ts'
import { openFileStore } from '../../lib/store/file/store.ts'
import { createProfile } from '../../lib/sse/profile.ts'
import { memoryBodies } from '../support/memory-bodies.ts'
import { admin, region, type Reply, startGateway } from '../support/gateway.ts'

/** An object whose methods are counted by name. */
const counting = <T extends object>(target: T, calls: Map<string, number>): T =>
  new Proxy(target, {
    get: (object, name) => {
      const value: unknown = Reflect.get(object, name)
      if (typeof value !== 'function') return value
      return (...args: readonly unknown[]): unknown => {
        calls.set(String(name), (calls.get(String(name)) ?? 0) + 1)
        return Reflect.apply(value, object, args)
      }
    },
  })

const whatItTakes = async (t: Test, parts: number, headers: Readonly<Record<string, string>>) => {
  const calls = new Map<string, number>()
  const opens = new Map<string, number>()
  const bodies: BodyStore = counting(memoryBodies().store, opens)
  const folder = await mkdtemp(join(tmpdir(), 'many-parts-'))
  const store = await openFileStore(folder, { bodies, sweepEvery: 0 })
  const profile = { ...createProfile('obs', { region }), minimumPartSize: 1 }
  const { signedFetch } = await startGateway(t, { store: counting(store, calls), profile })
  t.teardown(async () => {
    await store.close()
    await rm(folder, { recursive: true })
  })
  await signedFetch(admin, 'PUT', '/bucket')
  const initiated = await signedFetch(admin, 'POST', '/bucket/key?uploads', { headers })
  const id = /<UploadId>(.*?)</.exec(initiated.text)?.[1] ?? ''
  const etags = new Map<number, string>()
  const numbers = Array.from({ length: parts }, (_, i) => i + 1).values()
  const send = async () => {
    for (const number of numbers) {
      const path = `/bucket/key?partNumber=${number}&uploadId=${id}`
      if (number % 10 === 0) await signedFetch(admin, 'PUT', path, { body: 'stale' })
      const { headers } = await signedFetch(admin, 'PUT', path, { body: `${number % 10}` })
      etags.set(number, headers.etag ?? '')
    }
  }
  await Promise.all(Array.from({ length: 16 }, send))
  const xml = Array.from(
    { length: parts },
    (_, i) => `<Part><PartNumber>${i + 1}</PartNumber><ETag>${etags.get(i + 1)}</ETag></Part>`,
  ).join('')
  const work = async (name: string, run: () => Promise<Reply>) => {
    calls.clear()
    opens.clear()
    const start = performance.now()
    const reply = await run()
    t.comment(`${parts} parts, ${name}: ${Math.round(performance.now() - start)} ms`)
    return { reply, calls: Object.fromEntries(calls), opens: Object.fromEntries(opens) }
  }
  const complete = await work('Complete', () =>
    signedFetch(admin, 'POST', `/bucket/key?uploadId=${id}`, {
      body: `<CompleteMultipartUpload>${xml}</CompleteMultipartUpload>`,
    }),
  )
  t.equal(complete.reply.status, 200)
  const get = await work('GET', () => signedFetch(admin, 'GET', '/bucket/key'))
  t.equal(get.reply.text, Array.from({ length: parts }, (_, i) => (i + 1) % 10).join(''))
  return { complete, get }
}

/** What a request asks for; old attempts are deleted in the background, during whichever request. */
const asked = ({ delete: _deleted, ...opens }: Readonly<Record<string, number>>) => opens

for (const [kind, headers] of [
  ['sealed', { 'x-amz-server-side-encryption': 'aws:kms' }],
  ['plain', {}],
] as const) {
  t.test(`${kind}: Complete and GET ask the store once for all parts, and once for the body of each`, async t => {
    const many = Number(process.env['PARTS'] ?? 300)
    const few = await whatItTakes(t, 70, headers)
    const all = await whatItTakes(t, many, headers)
    t.strictSame(all.complete.calls, few.complete.calls, 'Complete: the same calls, however many parts')
    t.strictSame(all.get.calls, few.get.calls, 'GET: the same calls, however many parts')
    const opens = kind === 'sealed' ? { open: many } : {}
    t.strictSame(asked(all.complete.opens), opens, 'Complete: one look at each attempt that is chosen')
    t.strictSame(asked(all.get.opens), { sizeOf: many, open: many }, 'GET: each body is opened once')
  })
}
