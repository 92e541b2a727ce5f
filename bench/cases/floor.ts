/** What lies under a stream: the calls of `node:crypto` for 64 KiB, then ours, layer upon layer. */
import { createCipheriv, createDecipheriv, createSecretKey, randomBytes } from 'node:crypto'
import type { BenchCase, Contestant } from '../harness.ts'
import { assertPlaintext, chunksOf, chunkSize, flow, gather, nowhere, plaintext } from '../support/streams.ts'

const gcm = 'aes-256-gcm'
const options = { authTagLength: 16 }

/** The case. */
export const floor: BenchCase = {
  name: 'floor',
  about: 'microseconds for 64 KiB: the calls of node:crypto alone, then a driver of ours and a Transform around it',
  make: async bench => {
    const { core } = bench.lib
    const count = bench.pick(16, 1024, 4096)
    const size = count * chunkSize
    const bytes = new Uint8Array(randomBytes(32))
    const [key, nonce, chunk] = [createSecretKey(bytes), randomBytes(12), randomBytes(chunkSize)]
    const alone = (
      name: string,
      direction: string,
      run: () => unknown,
      against: readonly Contestant[],
    ): Contestant => ({
      ...{ name, direction, size, engine: 'node:crypto', against },
      run: async () => {
        run()
        return count
      },
    })
    const times = (once: () => unknown) => {
      for (let i = 0; i < count; i++) once()
    }
    const sealing = () => {
      const cipher = createCipheriv(gcm, key, nonce, options)
      times(() => cipher.update(chunk))
    }
    const each = () =>
      times(() => {
        const cipher = createCipheriv(gcm, key, nonce, options)
        cipher.update(chunk)
        cipher.final()
        cipher.getAuthTag()
      })
    // What is opened is memory that was not touched a moment ago, as what is stored is.
    const stored = Buffer.alloc(size)
    const tags = Array.from({ length: count }, (_, i) => {
      const cipher = createCipheriv(gcm, key, nonce, options)
      stored.set(cipher.update(chunk), i * chunkSize)
      cipher.final()
      return cipher.getAuthTag()
    })
    const opening = () => {
      const decipher = createDecipheriv(gcm, key, nonce, options)
      for (const sealed of chunksOf(stored)) decipher.update(sealed)
    }
    const openingEach = () => {
      let i = 0
      for (const sealed of chunksOf(stored)) {
        const decipher = createDecipheriv(gcm, key, nonce, options)
        decipher.update(sealed)
        decipher.setAuthTag(tags[i++] ?? Buffer.alloc(0)).final()
      }
    }
    const update = {
      seal: alone('one cipher, update', 'seal', sealing, []),
      open: alone('one decipher, update', 'open', opening, []),
    }
    const perSegment = alone('a cipher each: create, update, final, tag', 'seal', each, [update.seal])
    const perOpened = alone('a decipher each: create, update, final', 'open', openingEach, [update.open])
    const contestants: Contestant[] = [update.seal, perSegment, update.open, perOpened]
    for (const suite of [1, 5] as const) {
      const sse = core.createSse({
        kms: core.customerKey(core.nodeEngine, bytes),
        accept: [''],
        suite,
        engine: core.nodeEngine,
      })
      const put = await sse.encrypt({ length: size })
      const whole = await gather(sink => flow('Transform', plaintext(size), put, sink))
      const { envelope } = put.result()
      const seal = () => sse.encrypt({ length: size })
      const open = () => sse.decrypt(envelope)
      const driven = async (body: Awaited<ReturnType<typeof seal | typeof open>>, chunks: Iterable<Uint8Array>) => {
        for (const chunk of chunks) await body.driver.write(chunk, nowhere)
        await body.driver.end(nowhere)
        body.driver.dispose()
        return count
      }
      const streamed = async (body: Parameters<typeof driven>[0], chunks: Iterable<Uint8Array>) => {
        await flow('Transform', chunks, body, nowhere)
        return count
      }
      const validate = () => assertPlaintext(size, async sink => flow('Transform', chunksOf(whole), await open(), sink))
      const labels = { size, suite, engine: 'node', own: true, validate }
      for (const [name, run] of [
        ['driver', driven],
        ['Transform', streamed],
      ] as const) {
        const named = { ...labels, name: `suite ${suite}, ${name}` }
        contestants.push(
          { ...named, direction: 'seal', against: [update.seal], run: async () => run(await seal(), plaintext(size)) },
          { ...named, direction: 'open', against: [update.open], run: async () => run(await open(), chunksOf(whole)) },
        )
      }
    }
    return [{ name: '64 KiB', unit: 'µs', contestants }]
  },
}
