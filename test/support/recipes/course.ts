/**
 * The course for servers: what every server of the docs is held to, by a client that knows nothing of it but its address, and by a look at its
 * folder. Each check stands by itself: it puts the objects that it needs.
 */
import { deepEqual, equal, match, notEqual, ok, rejects } from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { type IncomingMessage, request } from 'node:http'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { setTimeout } from 'node:timers/promises'
import type { Serving } from './serving.ts'

/** What became of a check. */
export interface Checked {
  readonly name: string
  /** What it failed with. */
  readonly failure?: string
  /** Why it was not made. */
  readonly skipped?: string
}

type Server = Pick<Serving, 'origin' | 'data' | 'pid' | 'said'>

const etagShape = /^"[0-9a-f]{32}-\d+"$/
const pattern = (length: number): Buffer<ArrayBuffer> => Buffer.alloc(length, randomBytes(251))

const filesIn = ({ data }: Server): readonly string[] =>
  readdirSync(data, { recursive: true, withFileTypes: true, encoding: 'utf8' })
    .filter(entry => entry.isFile())
    .map(entry => join(entry.parentPath, entry.name))
    .sort()

const put = async (url: string, body: Uint8Array<ArrayBuffer> | string): Promise<string> => {
  const answer = await fetch(url, { method: 'PUT', body })
  equal(answer.status, 200, await answer.text())
  const etag = answer.headers.get('etag') ?? ''
  match(etag, etagShape)
  return etag
}

const get = async (url: string, headers: Readonly<Record<string, string>> = {}) => {
  const answer = await fetch(url, { headers })
  return { status: answer.status, headers: answer.headers, body: Buffer.from(await answer.arrayBuffer()) }
}

const assertHolds = async (url: string, body: Uint8Array): Promise<void> => {
  const answer = await get(url)
  equal(answer.status, 200)
  ok(answer.body.equals(body), `${answer.body.length} bytes that are not the ${body.length} that were put`)
}

/** Waits until it holds, for 5 seconds. */
const until = async (what: string, holds: () => boolean): Promise<void> => {
  for (let i = 0; !holds(); i++) {
    if (i > 200) throw new Error(`${what}: not within 5 seconds`)
    await setTimeout(25)
  }
}

/** A request whose path is sent as it is. */
const raw = (server: Server, method: string, path: string, body?: Uint8Array): Promise<IncomingMessage> =>
  new Promise((resolve, reject) => {
    const { hostname, port } = new URL(server.origin)
    request({ hostname, port, method, path }, resolve).on('error', reject).end(body)
  })

/** The file that a put makes. */
const fileOf = async (server: Server, url: string, body: Uint8Array<ArrayBuffer>): Promise<string> => {
  const before = new Set(filesIn(server))
  await put(url, body)
  const [path, ...others] = filesIn(server).filter(each => !before.has(each))
  deepEqual(others, [], 'one file for an object')
  if (path === undefined) throw new Error('the put made no file')
  return path
}

const flip = (path: string, at: number): void => {
  const bytes = readFileSync(path)
  bytes[at] = (bytes[at] ?? 0) ^ 1
  writeFileSync(path, bytes)
}

/** Begins a PUT of a megabyte, and leaves it when the server has begun to write. */
const abandonPut = async (server: Server, url: string, headers: Readonly<Record<string, number>>): Promise<void> => {
  const before = filesIn(server)
  const aborted = request(url, { method: 'PUT', headers }).on('error', () => undefined)
  aborted.write(pattern(200_000))
  await until('a part file', () => filesIn(server).length > before.length)
  aborted.destroy()
  await until('the part file is gone', () => filesIn(server).length <= before.length)
  await setTimeout(100)
  deepEqual(filesIn(server), before)
}

const openFiles = (server: Server): readonly string[] =>
  readdirSync(`/proc/${server.pid}/fd`).flatMap(fd => {
    try {
      const path = readlinkSync(`/proc/${server.pid}/fd/${fd}`)
      return path.startsWith(join(server.data, 'objects/')) ? [path] : []
    } catch {
      return [] // closed meanwhile
    }
  })

const size = 300_000

const checks: Readonly<Record<string, (server: Server) => Promise<string | void>>> = {
  'put, get': async server => {
    const [url, body] = [`${server.origin}/put.jpg`, pattern(size)]
    const etag = await put(url, body)
    const answer = await get(url)
    equal(answer.status, 200)
    equal(answer.headers.get('etag'), etag)
    equal(answer.headers.get('accept-ranges'), 'bytes')
    equal(answer.headers.get('content-length'), String(size))
    ok(answer.body.equals(body))
    const plain = filesIn(server).filter(path => readFileSync(path).includes(body.subarray(1000, 1100)))
    deepEqual(plain, [], 'no plaintext on the disk')
  },
  'put again: another ETag': async server => {
    const url = `${server.origin}/again.jpg`
    const first = await put(url, pattern(10))
    const body = pattern(20)
    notEqual(await put(url, body), first)
    await assertHolds(url, body)
  },
  'an empty body': async server => {
    await put(`${server.origin}/empty`, '')
    await assertHolds(`${server.origin}/empty`, new Uint8Array())
  },
  '5 MiB': async server => {
    const body = pattern(5 * 1024 * 1024)
    await put(`${server.origin}/large`, body)
    await assertHolds(`${server.origin}/large`, body)
  },
  'a body whose length is not declared': async server => {
    const body = pattern(size)
    const stream = new ReadableStream<Uint8Array>({
      start: controller => {
        for (let at = 0; at < size; at += 10_000) controller.enqueue(body.subarray(at, at + 10_000))
        controller.close()
      },
    })
    const init: RequestInit & { readonly duplex: 'half' } = { method: 'PUT', body: stream, duplex: 'half' }
    const answer = await fetch(`${server.origin}/chunked`, init)
    equal(answer.status, 200, await answer.text())
    await assertHolds(`${server.origin}/chunked`, body)
  },
  'bodies of any type': async server => {
    for (const type of ['application/json', 'text/plain', 'application/x-www-form-urlencoded', 'image/jpeg']) {
      const body = pattern(1000)
      const answer = await fetch(`${server.origin}/typed`, { method: 'PUT', headers: { 'content-type': type }, body })
      equal(answer.status, 200, `${type}: ${await answer.text()}`)
      await assertHolds(`${server.origin}/typed`, body)
    }
  },
  ranges: async server => {
    const [url, body] = [`${server.origin}/range`, pattern(size)]
    const etag = await put(url, body)
    const ranges = { 'bytes=70000-200000': [70_000, 200_000], 'bytes=299999-': [299_999, 299_999], 'bytes=0-0': [0, 0] }
    for (const [range, [start = 0, end = 0]] of Object.entries(ranges)) {
      const answer = await get(url, { range })
      equal(answer.status, 206, range)
      equal(answer.headers.get('content-range'), `bytes ${start}-${end}/${size}`)
      equal(answer.headers.get('content-length'), String(end - start + 1))
      equal(answer.headers.get('etag'), etag)
      ok(answer.body.equals(body.subarray(start, end + 1)), range)
    }
  },
  'suffix range': async server => {
    const [url, body] = [`${server.origin}/suffix`, pattern(size)]
    await put(url, body)
    const answer = await get(url, { range: 'bytes=-5' })
    equal(answer.status, 206)
    equal(answer.headers.get('content-range'), `bytes 299995-299999/${size}`)
    ok(answer.body.equals(body.subarray(-5)))
  },
  'several ranges: the whole object': async server => {
    const url = `${server.origin}/several`
    await put(url, pattern(size))
    const answer = await get(url, { range: 'bytes=0-1,5-6' })
    deepEqual([answer.status, answer.body.length], [200, size])
  },
  'If-Range': async server => {
    const url = `${server.origin}/if-range`
    const etag = await put(url, pattern(size))
    const same = await get(url, { range: 'bytes=5-9', 'if-range': etag })
    deepEqual([same.status, same.body.length], [206, 5])
    for (const other of ['"another"', `W/${etag}`, new Date().toUTCString()]) {
      const answer = await get(url, { range: 'bytes=5-9', 'if-range': other })
      deepEqual([answer.status, answer.body.length], [200, size], other)
    }
  },
  '416': async server => {
    const url = `${server.origin}/beyond`
    await put(url, pattern(size))
    const answer = await get(url, { range: `bytes=${size}-` })
    deepEqual([answer.status, answer.headers.get('content-range')], [416, `bytes */${size}`])
    match(String(answer.body), /^RangeNotSatisfiable: /)
  },
  '404': async server => {
    const answer = await get(`${server.origin}/missing`)
    equal(answer.status, 404)
    match(String(answer.body), /^NoSuchKey: There is no object of this name/)
  },
  HEAD: async server => {
    const url = `${server.origin}/head`
    const etag = await put(url, pattern(size))
    const answer = await fetch(url, { method: 'HEAD' })
    deepEqual([answer.status, answer.headers.get('content-length'), answer.headers.get('etag')], [200, `${size}`, etag])
  },
  'names that are no names of files': async server => {
    const paths = [
      '/a%2f..%2f..%2fb',
      '/%2e%2e',
      '/%00',
      `/${'n'.repeat(300)}`,
      '/name',
      '/NAME',
      '/a/b/c',
      '/a',
      '/ä'.normalize('NFD'),
    ]
    const bodies = new Map(
      paths.map(path => [encodeURI(decodeURI(path)) === path ? path : encodeURI(path), pattern(100)]),
    )
    for (const [path, body] of bodies) equal((await raw(server, 'PUT', path, body)).resume().statusCode, 200, path)
    for (const [path, body] of bodies) {
      const answer = await raw(server, 'GET', path)
      equal(answer.statusCode, 200, path)
      ok((await buffer(answer)).equals(body), path)
    }
  },
  'three puts at once': async server => {
    const [url, bodies] = [`${server.origin}/three`, [1, 2, 3].map(() => pattern(1_000_000))]
    const etags = await Promise.all(bodies.map(body => put(url, body)))
    const answer = await get(url)
    const winner = etags.indexOf(answer.headers.get('etag') ?? '')
    ok(bodies[winner]?.equals(answer.body), 'one of them, whole, with its ETag')
  },
  'a put that is aborted leaves the old object, and nothing else': async server => {
    const [url, body] = [`${server.origin}/abort`, pattern(size)]
    await put(url, body)
    for (const headers of [{ 'content-length': 1_000_000 }, {}]) {
      await abandonPut(server, url, headers)
      await assertHolds(url, body)
    }
  },
  'a client that leaves in the middle of a get': async server => {
    const [url, body] = [`${server.origin}/leave`, pattern(5 * 1024 * 1024)]
    await put(url, body)
    const { hostname, port } = new URL(server.origin)
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      request({ hostname, port, path: '/leave' }, resolve).on('error', reject).end()
    })
    await new Promise(resolve => answer.once('data', resolve))
    answer.destroy()
    if (existsSync(`/proc/${server.pid}/fd`)) await until('its file is closed', () => openFiles(server).length === 0)
    await assertHolds(url, body)
  },
  'a changed body never ends cleanly': async server => {
    const url = `${server.origin}/tamper`
    const path = await fileOf(server, url, pattern(size))
    flip(path, 200_000)
    const limit = { signal: AbortSignal.timeout(5000) }
    await rejects(
      fetch(url, limit).then(answer => answer.arrayBuffer()),
      (error: Error) => error.name !== 'TimeoutError',
      'it broke off, and did not hang',
    )
  },
  'a changed envelope is refused': async server => {
    const url = `${server.origin}/envelope`
    const path = await fileOf(server, url, pattern(size))
    flip(path, 20)
    const answer = await get(url)
    equal(answer.status, 500)
    match(String(answer.body), /^The server failed/, 'and the client learns nothing')
  },
  'a file in the place of another one is refused': async server => {
    const [one, other] = [`${server.origin}/one`, `${server.origin}/other`]
    const [path, otherPath] = [await fileOf(server, one, pattern(10)), await fileOf(server, other, pattern(20))]
    writeFileSync(path, readFileSync(otherPath))
    equal((await get(one)).status, 500)
  },
  'no file is left open': async server => {
    if (!existsSync(`/proc/${server.pid}/fd`)) return 'open files are looked at in /proc, which is not here'
    await until('all files are closed', () => openFiles(server).length === 0)
  },
}

/** Names of all checks. */
export const checkNames: readonly string[] = Object.keys(checks)

/** Runs the course, or some checks of it; every one, also after one that failed. */
export const runCourse = async (server: Server, names = checkNames): Promise<readonly Checked[]> => {
  const results: Checked[] = []
  for (const [name, check] of Object.entries(checks).filter(([name]) => names.includes(name))) {
    try {
      const skipped = await check(server)
      results.push({ name, ...(typeof skipped === 'string' && { skipped }) })
    } catch (error) {
      results.push({ name, failure: error instanceof Error ? error.message : String(error) })
    }
  }
  return results
}
