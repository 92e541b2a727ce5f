/** Listing a bucket to its end: from the store, and over HTTP in pages of 1,000. */
import type { BenchCase, Contestant } from '../harness.ts'
import { atOnce } from '../support/at-once.ts'
import { startGateway } from '../support/client.ts'
import { bucket, putObject } from '../support/service.ts'
import { plaintext } from '../support/streams.ts'

/** The case. */
export const listing: BenchCase = {
  name: 'listing',
  about: 'a listing of 10,000 keys (with --full 100,000) to its end, from the store and over HTTP in pages of 1,000',
  make: async bench => {
    const { store, send } = await startGateway(bench)
    const count: number = bench.pick(1500, 10_000, 100_000)
    await atOnce(count, 256, i => putObject(store, `folder ${i % 10}/object ${i}`, plaintext(1), 1))
    const fromStore = async () => {
      let found = 0
      let after: string | undefined
      do {
        const page = await store.list(after, 1000)
        found += page.entries.length
        after = page.next
      } while (after !== undefined)
      return found
    }
    const overHttp = async () => {
      const path = `/${bucket}?list-type=2&max-keys=1000`
      return (await send({ method: 'GET', path, pages: true, count: 1, atOnce: 1 })).count
    }
    const contestant = (name: string, run: () => Promise<number>): Contestant => ({
      ...{ name, direction: 'list', own: true, run },
      validate: async () => {
        const found = await run()
        if (found !== count) throw new Error(`${found} keys of ${count}`)
      },
    })
    return [
      {
        name: `${count.toLocaleString('en')} keys`,
        unit: 'objects/s',
        contestants: [contestant('store', fromStore), contestant('HTTP', overHttp)],
      },
    ]
  },
}
