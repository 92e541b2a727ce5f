/** The engines that every test of engines goes through. */
import type { Engine, SyncEngine } from '../../lib/cipher/engine.ts'
import { ffiEngine } from '../../lib/cipher/ffi.ts'
import { nobleEngine } from '../../lib/cipher/noble.ts'
import { nodeEngine } from '../../lib/cipher/node.ts'
import { webCryptoEngine } from '../../lib/cipher/web.ts'

// Where `SSE_KMS_ENGINE` asks for it, as `test/cipher/ffi.test.ts` does on a Node that has it: the engine over `node:ffi`, beside the one
// that it is compared with; the others have their tests without it.
const asked = process.env['SSE_KMS_ENGINE'] === 'ffi'

/** Engines whose calls return at once. */
export const syncEngines: readonly SyncEngine[] = asked ? [nodeEngine, ffiEngine()] : [nodeEngine, nobleEngine]
/** All engines. */
export const engines: readonly Engine[] = asked ? syncEngines : [...syncEngines, webCryptoEngine]
/** Without noble, which is too slow for large bodies. */
export const fastEngines: readonly Engine[] = asked ? syncEngines : [nodeEngine, webCryptoEngine]
