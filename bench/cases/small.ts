/** Small objects a second: through the façade alone, and through the embedded store with durable, grouped commits. */
import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import type { Bench, BenchCase, Contestant, Group } from '../harness.ts'
import { type Wrapping, wrappingsOf } from '../support/bucket-key.ts'
import { atOnce } from '../support/at-once.ts'
import { bytes } from '../support/bytes.ts'
import { chosenOf } from '../support/engines.ts'
import { contextOf, openService, openStore, putObject, type Service } from '../support/service.ts'
import { assertPlaintext, chunksOf, flow, gather, nowhere, plaintext, type AdapterName } from '../support/streams.ts'

const KiB = 1024

/**
 * What an object under a bucket key costs in calls of the engine alone, one after the other, without records, checks or promises: the KEK, the
 * wrap, the keys of body and stream, the descriptor, the ETag and the segment. The floor under `encrypt` and `decrypt`.
 */
const callsOf = (engine: Awaited<ReturnType<typeof chosenOf>>, size: number, count: number): readonly Contestant[] => {
  if (!engine.synchronous) return []
  const gcm = 'AEAD_AES_256_GCM'
  const [key, nonce, info] = [new Uint8Array(randomBytes(32)), new Uint8Array(12), new Uint8Array(120)]
  const chunks = [...plaintext(size)]
  const wrapped = engine.wrap(key, key)
  const sealer = engine.sealer(gcm, key)
  sealer.begin(nonce)
  const sealed = chunks.flatMap(chunk => sealer.update(chunk) ?? [])
  const whole = Buffer.concat([...sealed, ...sealer.final()])
  const [body, tag] = [whole.subarray(0, -16), whole.subarray(-16)]
  const derive = () => {
    for (let i = 0; i < 5; i++) engine.hmacSha512(key, info)
    for (let i = 0; i < 2; i++) engine.hmacSha256(key, info)
    for (let i = 0; i < 2; i++) engine.sha256(info)
  }
  const seal = async () => {
    crypto.getRandomValues(new Uint8Array(32))
    derive()
    engine.wrap(key, key)
    const sealer = engine.sealer(gcm, key)
    sealer.begin(nonce)
    for (const chunk of chunks) sealer.update(chunk)
    sealer.final()
    sealer.dispose()
  }
  const open = async () => {
    derive()
    engine.unwrap(key, wrapped)
    const opener = engine.opener(gcm, key)
    opener.begin(nonce, size)
    opener.update(body)
    opener.final(tag)
    opener.dispose()
  }
  const labels = { name: 'the calls of the engine alone', size, engine: engine.name }
  return [
    { ...labels, direction: 'seal', run: () => atOnce(count, 1, seal) },
    { ...labels, direction: 'open', run: () => atOnce(count, 1, open) },
  ]
}

/** Objects through `encrypt` and `decrypt`, one after the other. */
const facade = async (
  bench: Bench,
  service: Service,
  wrappings: readonly Wrapping[],
  size: number,
  count: number,
): Promise<readonly Contestant[]> => {
  const { sse, engine } = service
  const contestants: Contestant[] = []
  const calls = callsOf(await chosenOf(bench.lib), size, count)
  contestants.push(...calls)
  for (const { name, seal, read } of wrappings) {
    const encrypt = () => sse.encrypt({ length: size, context: contextOf('key'), ...seal })
    const put = await encrypt()
    const stored = await gather(sink => flow('Transform', plaintext(size), put, sink))
    const { envelope } = put.result()
    const open = () => sse.decrypt(envelope, { held: stored.length, context: contextOf('key'), ...read })
    const validate = () => assertPlaintext(size, async sink => flow('Transform', chunksOf(stored), await open(), sink))
    const against = (direction: string) => calls.filter(each => each.direction === direction)
    const labels = { size, suite: 1, engine, own: true, validate }
    const adapters: readonly AdapterName[] =
      'pieces' in put ? ['Transform', 'generator', 'driver'] : ['Transform', 'driver']
    for (const adapter of adapters) {
      const named = { ...labels, name: `${adapter}, ${name}` }
      const sealing = async () => flow(adapter, plaintext(size), await encrypt(), nowhere)
      const opening = async () => flow(adapter, chunksOf(stored), await open(), nowhere)
      contestants.push(
        {
          ...named,
          direction: 'seal',
          against: against('seal'),
          run: () => atOnce(count, 1, sealing),
        },
        {
          ...named,
          direction: 'open',
          against: against('open'),
          run: () => atOnce(count, 1, opening),
        },
      )
    }
  }
  return contestants
}

/** The case. */
export const small: BenchCase = {
  name: 'small',
  about: 'objects of 1 KiB and 64 KiB a second: through encrypt and decrypt, and into the store by 64 writers at once',
  make: async bench => {
    const service = await openService(bench)
    const store = await openStore(bench, service.directory)
    const groups: Group[] = []
    const all = await wrappingsOf(bench, service)
    for (const size of [KiB, 64 * KiB]) {
      const wrappings = bench.pick(all, all.slice(-1), all)
      groups.push({
        name: `encrypt and decrypt, ${bytes(size)}`,
        unit: 'objects/s',
        contestants: await facade(bench, service, wrappings, size, bench.pick(20, size === KiB ? 1000 : 100, 10_000)),
        rounds: bench.pick(1, 3, 9),
      })
      const count = bench.pick(20, 300, 5000)
      let run = 0
      const put = async (sse?: Service['sse']) => {
        const prefix = `${size}/${run++ % 2}/`
        return atOnce(count, 64, i => putObject(store, prefix + i, plaintext(size), size, sse))
      }
      const plain: Contestant = { name: 'not encrypted', direction: 'put', size, own: true, run: () => put() }
      const sealed: Contestant = {
        ...{ name: 'encrypted', direction: 'put', size, suite: 1, engine: service.engine, own: true },
        against: [plain],
        run: () => put(service.sse),
        validate: async () => {
          const key = randomBytes(8).toString('hex')
          await putObject(store, key, plaintext(size), size, service.sse)
          const opened = await store.open(key)
          if (opened === undefined) throw new Error('the object is not there')
          const { body, record } = opened
          const options = { held: body.size, context: contextOf(key) }
          const get = await service.sse.decrypt(record.envelope ?? new Uint8Array(), options)
          const stored: Uint8Array[] = await Readable.from(body.read(get.stored)).toArray()
          await body.close()
          await assertPlaintext(size, sink => flow('Transform', stored, get, sink))
        },
      }
      groups.push({
        name: `store, 64 writers, ${bytes(size)}`,
        unit: 'objects/s',
        contestants: [plain, sealed],
        rounds: bench.pick(1, 3, 9),
      })
    }
    return groups
  },
}
