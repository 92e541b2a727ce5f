/** Copies in the embedded store: rewrapping the data key, which leaves the body where it is, against encrypting anew. */
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { BenchCase, Contestant } from '../harness.ts'
import { atOnce } from '../support/at-once.ts'
import { contextOf, described, openService, openStore, putObject } from '../support/service.ts'
import { assertPlaintext, flow, plaintext } from '../support/streams.ts'

const KiB = 1024
const MiB = KiB * KiB

/** The case. */
export const copy: BenchCase = {
  name: 'copy',
  about: 'copies of 1 KiB to 1 GiB in the store: rewrap, whose time must not depend on the size, against re-encryption',
  make: async bench => {
    const { sse, engine, directory } = await openService(bench)
    const store = await openStore(bench, directory)
    const sizes: readonly number[] = bench.pick([KiB, MiB], [KiB, MiB, 64 * MiB], [KiB, MiB, 64 * MiB, KiB * MiB])
    const from = (size: number) => `from-${size}`
    const rewrap = (size: number, to: string) =>
      store.copy(from(size), to, async envelope => {
        const options = { context: contextOf(from(size)), to: { context: contextOf(to) } }
        const rewrapped = await sse.rewrap(envelope, options)
        return { ...described(size), kind: 'sse-kms', etag: 'kept', envelope: rewrapped }
      })
    const reencrypt = async (size: number, to: string) => {
      const opened = await store.open(from(size))
      if (opened?.record.envelope === undefined) throw new Error('the source is not there')
      const options = { held: opened.body.size, context: contextOf(from(size)), to: { context: contextOf(to) } }
      const again = await sse.reencrypt(opened.record.envelope, options)
      const body = await store.createBody({ expectedSize: again.planned?.storedLength })
      await pipeline(opened.body.read(again.from.stored), again.stream, body.writable)
      await opened.body.close()
      const { etag, envelope } = again.result()
      await store.put(to, { ...described(size), kind: 'sse-kms', etag, envelope }, body)
    }
    const opens = async (size: number, key: string) => {
      const opened = await store.open(key)
      if (opened?.record.envelope === undefined) throw new Error('the copy is not there')
      const options = { held: opened.body.size, context: contextOf(key) }
      const get = await sse.decrypt(opened.record.envelope, options)
      const stored: Uint8Array[] = await Readable.from(opened.body.read(get.stored)).toArray()
      await opened.body.close()
      await assertPlaintext(size, sink => flow('Transform', stored, get, sink))
    }
    const rewraps: Contestant[] = []
    const both: Contestant[] = []
    for (const size of sizes) {
      await putObject(store, from(size), plaintext(size), size, sse)
      const labels = { size, direction: 'copy', suite: 1, engine, own: true }
      const anew: Contestant = {
        ...labels,
        name: 're-encrypt',
        run: () => atOnce(1, 1, () => reencrypt(size, `anew-${size}`)),
        validate: async () => {
          await reencrypt(size, 'checked')
          await opens(size, 'checked')
        },
      }
      const rewrapped: Contestant = {
        ...labels,
        name: 'rewrap',
        against: rewraps.slice(0, 1),
        run: () => atOnce(bench.pick(1, 50, 50), 1, () => rewrap(size, `copy-${size}`)),
        validate: async () => {
          await rewrap(size, 'checked')
          await opens(size, 'checked')
        },
      }
      rewraps.push(rewrapped)
      both.push({ ...rewrapped, against: [anew], validate: undefined }, anew)
    }
    return [
      // By themselves, so that none waits for a disk that still writes what another one left.
      { name: 'rewrap', unit: 'ms', contestants: rewraps },
      { name: 'rewrap against re-encrypt', unit: 'ms', contestants: both },
    ]
  },
}
