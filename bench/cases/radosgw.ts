/** Ceph's gateway beside ours: SSE-KMS in both, the same client, the same disk, request for request. */
import { createHash } from 'node:crypto'
import { startRadosgw, radosgwMissing } from '../../test/support/radosgw.ts'
import type { BenchCase, Contestant, Group, Unit } from '../harness.ts'
import { bytes } from '../support/bytes.ts'
import { type Server, startClient, startGateway, type Task } from '../support/client.ts'
import { bucket, region } from '../support/service.ts'
import { plaintext } from '../support/streams.ts'

const KiB = 1024
const MiB = KiB * KiB

const digestOf = (size: number): string => {
  const hash = createHash('sha256')
  for (const chunk of plaintext(size)) hash.update(chunk)
  return hash.digest('hex')
}

/** A gateway as the case uses it. */
interface Contender {
  readonly name: string
  readonly headers: Readonly<Record<string, string>>
  /** Headers of what is copied, and of its copies. */
  readonly copied: Readonly<Record<string, string>>
  send(work: Task): ReturnType<Awaited<ReturnType<typeof startGateway>>['send']>
}

/** The case. */
export const radosgw: BenchCase = {
  name: 'radosgw',
  about: "PUT, GET, range, multipart, copy and listing under SSE-KMS, against Ceph's gateway on the same disk",
  make: async bench => {
    if (radosgwMissing !== false) {
      bench.note(`left out: radosgw: ${radosgwMissing}`)
      return []
    }
    const client = startClient(bench)
    const ceph = await startRadosgw({ teardown: bench.after, comment: bench.note }, 'bluestore')
    const kms = { 'x-amz-server-side-encryption': 'aws:kms' }
    const server: Server = { port: Number(new URL(ceph.url).port), user: { ...ceph.users[0], region } }
    const theirs: Contender = {
      name: 'radosgw',
      headers: { ...kms, 'x-amz-server-side-encryption-aws-kms-key-id': ceph.keyIds[0] },
      copied: {},
      send: work => client(server, work),
    }
    const ours: Contender = { name: 'ours', headers: kms, copied: kms, send: (await startGateway(bench, client)).send }
    await theirs.send({ method: 'PUT', path: `/${bucket}`, count: 1, atOnce: 1 })

    const large: number = bench.pick(6 * MiB, 64 * MiB, 64 * MiB)
    const part = Math.max(5 * MiB, large / 4)
    const [requests, some] = [bench.pick(10, 200, 2000), bench.pick(2, 20, 200)]
    const group = (
      name: string,
      unit: Unit,
      labels: { readonly direction: string; readonly size: number },
      run: (contender: Contender) => Promise<number>,
    ): Group => {
      const contestants: Contestant[] = []
      for (const contender of [theirs, ours]) {
        contestants.push({
          ...{ ...labels, name: contender.name, own: contender === ours, against: contestants.slice(0, 1) },
          run: () => run(contender),
        })
      }
      return { name, unit, contestants, rounds: bench.pick(1, 3, 9) }
    }
    const put = (count: number, size: number, atOnce: number) => async (contender: Contender) => {
      const { headers, send } = contender
      await send({ method: 'PUT', path: `/${bucket}/${size}/{i}`, size, headers, count, atOnce })
      return count * size
    }
    const get = (count: number, size: number, atOnce: number) => async (contender: Contender) => {
      const done = await contender.send({ method: 'GET', path: `/${bucket}/${size}/{i}`, count, atOnce })
      if (done.bytes !== count * size) throw new Error('GET does not answer what was PUT')
      return done.bytes
    }
    const objects = (transfer: ReturnType<typeof put>, size: number) => async (contender: Contender) =>
      (await transfer(contender)) / size
    for (const contender of [theirs, ours]) {
      await put(1, large, 1)(contender)
      const { digest } = await contender.send({
        method: 'GET',
        path: `/${bucket}/${large}/0`,
        digest: true,
        count: 1,
        atOnce: 1,
      })
      if (digest !== digestOf(large)) throw new Error(`${contender.name} does not answer what was PUT`)
    }
    // radosgw 16 answers 501 where the source is encrypted: it copies one in the clear, ours the encrypted one.
    bench.note('radosgw copies no encrypted objects: its copies are of one in the clear')
    const source = `/${bucket}/source`
    for (const { send, copied } of [theirs, ours]) {
      await send({ method: 'PUT', path: source, size: MiB, headers: copied, count: 1, atOnce: 1 })
    }
    const copy = async ({ copied, send }: Contender) => {
      const headers = { ...copied, 'x-amz-copy-source': source }
      return (await send({ method: 'PUT', path: `/${bucket}/copies/{i}`, headers, count: some, atOnce: 1 })).count
    }
    const small = { size: KiB }
    const medium = { size: MiB }
    return [
      group('PUT, 64 at once', 'objects/s', { direction: 'put', ...small }, objects(put(requests, KiB, 64), KiB)),
      group('GET, 64 at once', 'objects/s', { direction: 'get', ...small }, objects(get(requests, KiB, 64), KiB)),
      group('PUT, one after the other', 'MB/s', { direction: 'put', ...medium }, put(some, MiB, 1)),
      group('GET, one after the other', 'MB/s', { direction: 'get', ...medium }, get(some, MiB, 1)),
      group('PUT', 'MB/s', { direction: 'put', size: large }, put(1, large, 1)),
      group('GET', 'MB/s', { direction: 'get', size: large }, get(1, large, 1)),
      group(
        `GET of ${bytes(4 * KiB)}, one after the other`,
        'objects/s',
        { direction: 'get', size: large },
        async ({ send }) => {
          const headers = { range: `bytes=${large / 2}-${large / 2 + 4 * KiB - 1}` }
          const done = await send({ method: 'GET', path: `/${bucket}/${large}/0`, headers, count: some, atOnce: 1 })
          if (done.bytes !== some * 4 * KiB) throw new Error('a range has another length')
          return some
        },
      ),
      group('upload of 4 parts at once', 'MB/s', { direction: 'put', size: 4 * part }, async ({ headers, send }) => {
        await send({ method: 'PUT', path: `/${bucket}/parts`, size: part, headers, parts: 4, count: 1, atOnce: 1 })
        return 4 * part
      }),
      group('copy, one after the other', 'objects/s', { direction: 'copy', ...medium }, copy),
      group('listing to its end', 'objects/s', { direction: 'list', ...small }, async ({ send }) => {
        const path = `/${bucket}?list-type=2&max-keys=1000`
        return (await send({ method: 'GET', path, pages: true, count: 1, atOnce: 1 })).count
      }),
    ]
  },
}
