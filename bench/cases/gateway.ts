/** Over HTTP, the client in a process of its own: encrypted against not encrypted in the same server, commits to disk included. */
import { createHash } from 'node:crypto'
import type { BenchCase, Contestant, Group } from '../harness.ts'
import { bytes } from '../support/bytes.ts'
import { startBare, startClient, startGateway } from '../support/client.ts'
import { bucket } from '../support/service.ts'
import { plaintext } from '../support/streams.ts'

const KiB = 1024
const MiB = KiB * KiB

const fewer = [
  { name: 'not encrypted', headers: {} },
  { name: 'SSE-KMS', headers: { 'x-amz-server-side-encryption': 'aws:kms' } },
]
const more = [...fewer, { name: 'SSE-S3', headers: { 'x-amz-server-side-encryption': 'AES256' } }]

const digestOf = (size: number): string => {
  const hash = createHash('sha256')
  for (const chunk of plaintext(size)) hash.update(chunk)
  return hash.digest('hex')
}

/** The case. */
export const gateway: BenchCase = {
  name: 'gateway',
  about: 'PUT and GET of 64 MiB, range GET, and 1 KiB objects over HTTP: encrypted against not encrypted in one server',
  make: async bench => {
    const client = startClient(bench)
    const { send } = await startGateway(bench, client)
    const bare = await startBare(bench, client)
    const kinds = bench.pick(more, fewer, more)
    const size: number = bench.pick(MiB, 64 * MiB, 64 * MiB)
    const [requests, ranges] = [bench.pick(10, 200, 2000), bench.pick(5, 30, 500)]
    const pathOf = (name: string) => `/${bucket}/${encodeURIComponent(name)}`
    const checked = new Map<string, Promise<void>>()
    const group = (
      name: string,
      unit: Group['unit'],
      labels: { readonly direction: string; readonly size: number },
      run: (kind: (typeof more)[number]) => Promise<number>,
      floor?: () => Promise<number>,
    ): Group => {
      const contestants: Contestant[] = []
      if (floor !== undefined) contestants.push({ ...labels, name: 'node:http alone', run: floor })
      for (const kind of kinds) {
        const check = async () => {
          const sent = Math.min(labels.size, 4 * MiB)
          const path = pathOf(`checked ${kind.name}`)
          await send({ method: 'PUT', path, size: sent, headers: kind.headers, count: 1, atOnce: 1 })
          const { digest } = await send({ method: 'GET', path, digest: true, count: 1, atOnce: 1 })
          if (digest !== digestOf(sent)) throw new Error('GET does not answer what was PUT')
        }
        const name = `${kind.name}, ${labels.size}`
        const validate = () => {
          const made = checked.get(name) ?? check()
          checked.set(name, made)
          return made
        }
        const against = contestants.slice(0, floor === undefined ? 1 : 2)
        contestants.push({ ...labels, name: kind.name, own: true, against, validate, run: () => run(kind) })
      }
      // The first PUT of each was one to warm up.
      return { name, unit, contestants, rounds: bench.pick(1, 3, 9), cold: name === 'PUT' }
    }
    const put = async (kind: (typeof more)[number]) => {
      await send({ method: 'PUT', path: pathOf(kind.name), size, headers: kind.headers, count: 1, atOnce: 1 })
      return size
    }
    for (const kind of kinds) await put(kind)
    return [
      group('PUT', 'MB/s', { direction: 'put', size }, put),
      group('GET', 'MB/s', { direction: 'get', size }, async ({ name }) => {
        const { bytes: count } = await send({ method: 'GET', path: pathOf(name), count: 1, atOnce: 1 })
        if (count !== size) throw new Error('GET does not answer what was PUT')
        return count
      }),
      group(`GET of ${bytes(4 * KiB)}, one after the other`, 'µs', { direction: 'get', size }, async ({ name }) => {
        const headers = { range: `bytes=${size / 2}-${size / 2 + 4 * KiB - 1}` }
        const sent = { method: 'GET', path: pathOf(name), headers, count: ranges, atOnce: 1 }
        const { bytes: count } = await send(sent)
        if (count !== ranges * 4 * KiB) throw new Error('a range has another length')
        return ranges
      }),
      group(
        'PUT, 64 at once',
        'objects/s',
        { direction: 'put', size: KiB },
        async ({ name, headers }) => {
          const path = `${pathOf(`small ${name}`)}/{i}`
          return (await send({ method: 'PUT', path, size: KiB, headers, count: requests, atOnce: 64 })).count
        },
        async () => (await bare({ method: 'PUT', path: '/{i}', size: KiB, count: requests, atOnce: 64 })).count,
      ),
      group(
        'GET, 64 at once',
        'objects/s',
        { direction: 'get', size: KiB },
        async ({ name }) => {
          const path = `${pathOf(`small ${name}`)}/{i}`
          return (await send({ method: 'GET', path, count: requests, atOnce: 64 })).count
        },
        async () => (await bare({ method: 'GET', path: '/{i}', count: requests, atOnce: 64 })).count,
      ),
    ]
  },
}
