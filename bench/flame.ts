/** `--flame`: where the time goes, as flame graphs (icicles) in SVG: a small generator over V8's own profiler, no package. */
import { Session } from 'node:inspector/promises'
import { randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Bench } from './harness.ts'
import { startGateway } from './support/client.ts'
import { bucket } from './support/service.ts'
import { chunksOf, flow, gather, nowhere, plaintext } from './support/streams.ts'

const MiB = 1_048_576

/** A function in its place, and the microseconds in it and in what it called. */
interface Frame {
  readonly name: string
  time: number
  readonly callees: Map<string, Frame>
}

const frame = (name: string): Frame => ({ name, time: 0, callees: new Map() })

/** Runs work under the profiler. */
const profile = async (work: () => Promise<unknown>): Promise<Frame> => {
  const session = new Session()
  session.connect()
  await session.post('Profiler.enable')
  await session.post('Profiler.setSamplingInterval', { interval: 100 })
  await session.post('Profiler.start')
  await work()
  const { profile } = await session.post('Profiler.stop')
  session.disconnect()
  const parents = new Map<number, number>()
  const names = new Map<number, string>()
  for (const { id, callFrame, children = [] } of profile.nodes) {
    const file = callFrame.url.split('/').slice(-2).join('/')
    names.set(id, `${callFrame.functionName || '(anonymous)'}${file === '' ? '' : ` ${file}`}`)
    for (const child of children) parents.set(child, id)
  }
  const root = frame('all')
  for (const [i, sample] of (profile.samples ?? []).entries()) {
    const time = profile.timeDeltas?.[i] ?? 0
    const stack: string[] = []
    for (let id: number | undefined = sample; id !== undefined; id = parents.get(id)) stack.push(names.get(id) ?? '')
    if (stack[0] === '(idle)' || stack[0] === '(program)') continue
    root.time += time
    let at = root
    for (const name of stack.toReversed().slice(1)) {
      const next = at.callees.get(name) ?? frame(name)
      at.callees.set(name, next)
      next.time += time
      at = next
    }
  }
  return root
}

const width = 1180
const height = 17
const letter = 6.1
const escape = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')

/** What kind of work a function is, for its colour. */
const kindOf = (name: string): string =>
  name === '(garbage collector)' ? 'gc' : /^\S+$| node:|^\S+ (?:crypto|streams|process)\//.test(name) ? 'node' : 'own'

const style = `
  text { font: 10.5px ui-monospace, 'DejaVu Sans Mono', monospace; fill: #1f2328 }
  .title { font: 600 15px system-ui, 'DejaVu Sans', sans-serif }
  .small { font: 11px system-ui, 'DejaVu Sans', sans-serif; fill: #59636e }
  .page { fill: #ffffff }
  rect { stroke: #ffffff; stroke-width: 0.5 }
  .own { fill: #54aeff }
  .node { fill: #d8b9ff }
  .gc { fill: #ffb77c }`

/** Draws frames below one another, callers above; what has less than half a percent is left out. */
const draw = (title: string, caption: string, root: Frame): string => {
  const parts: string[] = []
  let depth = 0
  const place = (one: Frame, x: number, level: number): void => {
    const size = (one.time / root.time) * width
    if (size < width / 200) return
    depth = Math.max(depth, level)
    const share = `${((one.time / root.time) * 100).toFixed(1)} %`
    const y = 62 + level * height
    const letters = Math.floor((size - 6) / letter)
    const text = `${one.name} ${share}`
    const label = letters < 4 ? '' : text.length <= letters ? text : `${text.slice(0, letters - 1)}…`
    parts.push(
      `<g><title>${escape(text)}</title><rect class="${kindOf(one.name)}" x="${(x + 10).toFixed(1)}" y="${y}" width="${size.toFixed(1)}" height="${height - 1}"/><text x="${(x + 13).toFixed(1)}" y="${y + 12}">${escape(label)}</text></g>`,
    )
    let at = x
    for (const callee of [...one.callees.values()].toSorted((a, b) => b.time - a.time)) {
      place(callee, at, level + 1)
      at += (callee.time / root.time) * width
    }
  }
  place(root, 0, 0)
  const bottom = 62 + (depth + 1) * height + 10
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width + 20}" height="${bottom}" viewBox="0 0 ${width + 20} ${bottom}" role="img" aria-label="${escape(title)}">
<style>${style}</style>
<rect class="page" x="0" y="0" width="${width + 20}" height="${bottom}"/>
<text class="title" x="12" y="24">${escape(title)}</text>
<text class="small" x="12" y="42">${escape(caption)}</text>
<text class="small" x="12" y="56">blue: this package; violet: Node; orange: garbage collection. Callers above, shares of the time that the thread was busy.</text>
${parts.join('\n')}
</svg>
`
}

/** A kind of work, to be drawn. */
interface Work {
  readonly name: string
  readonly title: string
  readonly work: () => Promise<unknown>
}

/** Requests of small objects to a gateway in this process, 64 at once. */
const gatewayWorks = async (bench: Bench): Promise<readonly Work[]> => {
  const { send } = await startGateway(bench)
  const headers = {
    'x-amz-server-side-encryption': 'aws:kms',
    'x-amz-server-side-encryption-bucket-key-enabled': 'true',
  }
  const small = { path: `/${bucket}/{i}`, count: 500, atOnce: 64 }
  const about = 'objects of 1 KiB, SSE-KMS under a bucket key, 64 at once'
  return [
    {
      name: 'gateway-put',
      title: `PUT of ${about}`,
      work: () => send({ ...small, method: 'PUT', size: 1024, headers }),
    },
    { name: 'gateway-get', title: `GET of ${about}`, work: () => send({ ...small, method: 'GET' }) },
  ]
}

/** Writes the flame graphs of sealing, of opening, of small objects and of requests; the names of the files. */
export const flames = async (bench: Bench, caption: string, folder: string): Promise<readonly string[]> => {
  const { core } = bench.lib
  const key = new Uint8Array(randomBytes(32))
  const sse = core.createSse({ kms: core.customerKey(core.nodeEngine, key), accept: [''] })
  const size = 64 * MiB
  const seal = async () => flow('Transform', plaintext(size), await sse.encrypt({ length: size }), nowhere)
  const put = await sse.encrypt({ length: size })
  const stored = await gather(sink => flow('Transform', plaintext(size), put, sink))
  const { envelope } = put.result()
  const open = async () => flow('Transform', chunksOf(stored), await sse.decrypt(envelope), nowhere)
  const small = async () => {
    for (let i = 0; i < 5000; i++) {
      const { driver } = await sse.encrypt({ length: 1024 })
      for (const chunk of plaintext(1024)) await driver.write(chunk, nowhere)
      await driver.end(nowhere)
      driver.dispose()
    }
  }
  const works: readonly Work[] = [
    { name: 'seal', title: 'Sealing 64 MiB, suite 1, engine node, Transform', work: seal },
    { name: 'open', title: 'Opening 64 MiB, suite 1, engine node, Transform', work: open },
    { name: 'small', title: 'Sealing objects of 1 KiB, one after the other, driver', work: small },
    ...(await gatewayWorks(bench)),
  ]
  mkdirSync(folder, { recursive: true })
  const written: string[] = []
  for (const { name, title, work } of works) {
    for (let i = 0; i < 3; i++) await work() // warm
    const root = await profile(async () => {
      for (let i = 0; i < 10; i++) await work()
    })
    const path = join(folder, `flame-${name}.svg`)
    writeFileSync(path, draw(title, caption, root))
    written.push(path)
  }
  return written
}
