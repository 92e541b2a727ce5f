/** The engines that this build and this Node have, and how large a body is worth their time. */
import type { Lib } from '../lib.ts'

type Engine = Lib['core']['nodeEngine'] | Lib['core']['webCryptoEngine']

/** An engine. */
export interface NamedEngine {
  readonly name: string
  readonly engine: Engine
  /** Largest body that it is measured with. */
  readonly upTo: number
}

const isEngine = (value: unknown): value is Engine =>
  typeof value === 'object' && value !== null && 'synchronous' in value && 'supports' in value

/** Exports of the package that may be an engine or make one: the first that is there counts. A further engine is a line here. */
const table: readonly { readonly name: string; readonly exports: readonly string[]; readonly upTo: number }[] = [
  { name: 'node', exports: ['nodeEngine'], upTo: Infinity },
  { name: 'openssl', exports: ['openSslEngine'], upTo: Infinity },
  { name: 'webcrypto', exports: ['webCryptoEngine'], upTo: 64 << 20 },
  { name: 'noble', exports: ['nobleEngine'], upTo: 1 << 20 },
]

/** Those that are there and pass their self-test; `note` is told of the others. */
export const enginesOf = async ({ core }: Lib, note: (line: string) => void): Promise<readonly NamedEngine[]> => {
  const exported = new Map<string, unknown>(Object.entries(core))
  const found: NamedEngine[] = []
  for (const { name, exports, upTo } of table) {
    if (name === 'openssl' && process.env['SSE_KMS_ENGINE'] === 'node') {
      note('left out: engine openssl: SSE_KMS_ENGINE is node')
      continue
    }
    const entry = exports.map(each => exported.get(each)).find(each => each !== undefined)
    if (entry === undefined) {
      note(`left out: engine ${name}: this revision has none`)
      continue
    }
    try {
      const engine: unknown = typeof entry === 'function' ? await entry() : entry
      if (!isEngine(engine)) throw new Error('this Node has none')
      await core.selfTest(engine)
      found.push({ name, engine, upTo })
    } catch (error) {
      note(`left out: engine ${name}: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
  return found
}

/** The engine that `createSse` chooses by itself where koffi is installed; `node` with `SSE_KMS_ENGINE=node`, as where it is not. */
export const chosenOf = async (lib: Lib): Promise<Engine> => {
  const engines = await enginesOf(lib, () => undefined)
  return (engines.find(({ name }) => name === 'openssl') ?? engines[0])?.engine ?? lib.core.nodeEngine
}
