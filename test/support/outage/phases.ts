/**
 * The phases of an outage: a gateway over PyKMIP, a load, and something that goes wrong with the key manager for a time. Afterwards every object
 * that was acknowledged must open whole under the true key manager, asked directly and past every memory.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { authenticateStore } from '../../../lib/gateway/index-key.ts'
import { guarded } from '../../../lib/kms/decorators/guarded.ts'
import { kmipKms } from '../../../lib/kms/kmip/kmip.ts'
import { registered } from '../../../lib/kms/registered.ts'
import { createSse } from '../../../lib/object/node.ts'
import { openFileStore } from '../../../lib/store/file/store.ts'
import { Ends } from '../ends.ts'
import { admin, region, startGateway, type TestGateway } from '../gateway.ts'
import { type KmipProxy, type ProxyFault, startKmipProxy } from '../kmip-proxy.ts'
import { type KmipServer, startKmip } from '../kmip.ts'
import { bodyOf, bucket, defaultLoad, Load, type LoadOptions, type Outcome } from './load.ts'
import { type PhaseReport, recovery, stretches } from './report.ts'

/** Key manager and the way to it. */
interface Setup {
  readonly server: KmipServer
  readonly proxy: KmipProxy
}

/** Something that goes wrong. */
interface Phase {
  readonly about: string
  /** Answers that reads and writes may get while it is wrong. */
  readonly allowed: readonly string[]
  /** Makes it wrong; what is answered ends it. */
  begin(setup: Setup): Promise<() => Promise<void>>
}

const refused = ['200', '503 ServiceUnavailable', '503 SlowDown']

const answers =
  (fault: ProxyFault): Phase['begin'] =>
  async ({ proxy }) => {
    proxy.fault = () => fault
    return async () => {
      proxy.fault = () => undefined
    }
  }

/** Requests that a throttling key manager takes in a second. */
const rate = 10

/** All phases, by their names. */
export const phases = {
  killed: {
    about: 'its process is killed with SIGKILL, and started again at the end',
    allowed: refused,
    begin: async ({ server }) => {
      await server.kill()
      return () => server.start()
    },
  },
  hung: {
    about: 'its process is stopped with SIGSTOP: it takes connections and answers nothing',
    allowed: refused,
    begin: async ({ server }) => {
      server.pause()
      return async () => server.resume()
    },
  },
  swallowed: {
    about: 'the network swallows its answers, on connections that stay open',
    allowed: refused,
    begin: answers('swallow'),
  },
  throttling: {
    about: `it takes ${rate} requests a second and refuses the others`,
    allowed: refused,
    begin: async ({ proxy }) => {
      let [second, taken] = [0, 0]
      proxy.fault = () => {
        const now = Math.floor(performance.now() / 1000)
        if (now !== second) [second, taken] = [now, 0]
        return ++taken > rate ? 'throttle' : undefined
      }
      return async () => {
        proxy.fault = () => undefined
      }
    },
  },
  'wrong id': { about: 'its answers name another key', allowed: refused, begin: answers('wrong id') },
  'wrong blob': {
    about: 'it answers with ciphertexts that are not those of the data key',
    allowed: refused,
    begin: answers('wrong blob'),
  },
  'wrong key': {
    about: 'it answers with plaintexts that are another data key, of the right length',
    allowed: [...refused, '500 InternalError'],
    begin: answers('wrong key'),
  },
} as const satisfies Readonly<Record<string, Phase>>
/** Name of a phase. */
export type PhaseName = keyof typeof phases
/** All names, in their order. */
export const phaseNames: readonly PhaseName[] = [
  ...(['killed', 'hung', 'swallowed', 'throttling', 'wrong id', 'wrong blob', 'wrong key'] as const),
]

/** How phases are run. */
export interface PhaseOptions {
  /** Seconds that it is wrong. */
  readonly seconds: number
  /** Milliseconds of a call to the key manager. Default 5,000. */
  readonly deadline?: number | undefined
  readonly load?: LoadOptions | undefined
  /** Told what happens. */
  readonly progress?: ((line: string) => void) | undefined
}

/** A gateway whose keys are those of a key manager at this address, over the objects in a folder. */
const openGateway = async (
  ends: Ends,
  folder: string,
  options: ReturnType<KmipServer['options']>,
  deadline: number,
): Promise<TestGateway> => {
  const manager = kmipKms(options)
  ends.teardown(() => manager.close())
  const kms = guarded(manager, { deadline })
  const open = () => createSse({ kms, accept: [], deadline })
  const rows = await openFileStore(folder, { sweepEvery: 0 })
  const store = await authenticateStore(rows, { kms: registered(kms), sse: open(), region })
  const limits = { kmsSeconds: deadline / 1000 }
  ends.teardown(() => store.close())
  return startGateway(
    { teardown: ends.teardown },
    { store, kms: registered(kms, { register: store }), sse: open(), limits },
  )
}

/** Reads every object once, and lists the bucket: what is wrong with what is there. */
const verify = async (gateway: TestGateway, load: Load): Promise<readonly string[]> => {
  const wrong: string[] = []
  const keys = [...load.acknowledged.keys()]
  const reader = async () => {
    for (let key = keys.pop(); key !== undefined; key = keys.pop()) {
      const { status, code, body } = await gateway.signedFetch(admin, 'GET', `/${bucket}/${key}`)
      if (status !== 200 || !body.equals(bodyOf(key)))
        wrong.push(`${key} was acknowledged and is ${status} ${code ?? 'changed'}`)
    }
  }
  await Promise.all(Array.from({ length: 8 }, reader))
  for (let after = ''; ;) {
    const path = `/${bucket}?list-type=2&start-after=${encodeURIComponent(after)}`
    const { text } = await gateway.signedFetch(admin, 'GET', path)
    const found = [...text.matchAll(/<Key>(.*?)<\/Key>/g)].map(([, key = '']) => key)
    for (const key of found) {
      if (!load.acknowledged.has(key) && !load.unknown.has(key)) wrong.push(`${key} was refused and is there`)
    }
    const last = found.at(-1)
    if (last === undefined || !text.includes('<IsTruncated>true')) return wrong
    after = last
  }
}

/** Problems in short: the first ones, and how many there are. */
const inShort = (problems: readonly string[]): readonly string[] =>
  problems.length <= 5 ? problems : [...problems.slice(0, 5), `and ${problems.length - 5} more`]

const judge = (
  { allowed }: Phase,
  { before, during, after }: ReturnType<typeof stretches>,
  outcomes: readonly Outcome[],
  deadline: number,
): readonly string[] => {
  const problems: string[] = []
  for (const [when, kinds, may] of [
    ['before', before, refused],
    ['during', during, allowed],
    ['after', after, allowed],
  ] as const) {
    for (const [kind, { results }] of Object.entries(kinds)) {
      for (const [result, count] of Object.entries(results)) {
        if (!may.some(each => each === result)) problems.push(`${kind}, ${when}: ${count} × ${result}`)
        else if (kind === 'GET, warm' && result !== '200') problems.push(`${kind}, ${when}: ${count} × ${result}`)
      }
    }
  }
  // A PUT may ask for its key and for a data key; the rest is what a busy machine takes.
  const longest = 2 * deadline + 10_000
  const slow = outcomes.filter(({ began, ended }) => ended - began > longest)
  if (slow.length > 0) problems.push(`${slow.length} requests took more than ${longest} ms`)
  return problems
}

/** Runs one phase in a gateway and a key manager of its own. */
export const runPhase = async (name: PhaseName, options: PhaseOptions): Promise<PhaseReport> => {
  const { seconds, deadline = 5000, load: loadOptions = defaultLoad, progress = () => undefined } = options
  const phase: Phase = phases[name]
  const ends = new Ends()
  const say = (line: string): void => progress(`${name}: ${line}`)
  try {
    const folder = await mkdtemp(join(tmpdir(), 'outage-'))
    ends.teardown(() => rm(folder, { recursive: true }))
    const server = await startKmip()
    ends.teardown(() => server.stop())
    const proxy = await startKmipProxy(server)
    ends.teardown(() => proxy.stop())
    const gatewayEnds = new Ends()
    ends.teardown(() => gatewayEnds.run())
    const objects = join(folder, 'objects')
    const gateway = await openGateway(gatewayEnds, objects, proxy.options, deadline)
    const load = new Load(gateway, loadOptions)
    say('writes the objects that are read')
    await load.prepare()
    const running = load.run()
    say(`all is well for ${seconds / 4} s`)
    await pause(seconds * 250)
    const start = performance.now()
    say(`from now on ${phase.about}, for ${seconds} s`)
    const end = await phase.begin({ server, proxy })
    load.useReserve()
    await pause(seconds * 1000)
    await end()
    const ended = performance.now()
    say('all is well again')
    // Until it has recovered, and some time after that.
    const most = ended + 2 * deadline + 10_000
    const least = Math.max(2000, seconds * 250)
    while (performance.now() < most) {
      await pause(250)
      const { recovered } = recovery(load.outcomes, ended)
      if (recovered !== undefined && performance.now() > ended + recovered + least) break
    }
    load.stop()
    await running
    await gatewayEnds.run()
    say(`reads ${load.acknowledged.size} objects under the true key manager`)
    const reading = new Ends()
    ends.teardown(() => reading.run())
    const problems = await verify(await openGateway(reading, objects, server.options(), 60_000), load)
    const parts = stretches(load.outcomes, start, ended)
    const times = recovery(load.outcomes, ended)
    const during = [...load.acknowledged.values()].filter(time => time >= start && time < ended).length
    return {
      phase: name,
      about: phase.about,
      seconds: (ended - start) / 1000,
      ...parts,
      ...times,
      acknowledged: { all: load.acknowledged.size, during },
      problems: [
        ...inShort(problems),
        ...judge(phase, parts, load.outcomes, deadline),
        ...(times.recovered === undefined ? ['it has not recovered'] : []),
      ],
    }
  } finally {
    await ends.run()
  }
}
