/** The engines that every test of engines goes through. */
import type { Engine, SyncEngine } from '../../lib/cipher/engine.ts'
import { engineOver } from '../../lib/cipher/openssl/engine.ts'
import { callsOverKoffi } from '../../lib/cipher/openssl/koffi.ts'
import { callsOverNodeFfi } from '../../lib/cipher/openssl/node-ffi.ts'
import { nobleEngine } from '../../lib/cipher/noble.ts'
import { nodeEngine } from '../../lib/cipher/node.ts'
import { webCryptoEngine } from '../../lib/cipher/web.ts'

/** `koffi` or `node:ffi`, where `test/cipher/openssl.test.ts` runs a test again for one call layer. */
const layer = process.env['SSE_KMS_TEST_LAYER']

/** The engine over OpenSSL, whose tests have koffi: it is one of the packages that they need. */
export const openSslOfTests: SyncEngine = engineOver(layer === 'node:ffi' ? callsOverNodeFfi() : await callsOverKoffi())

/** Engines whose calls return at once. */
export const syncEngines: readonly SyncEngine[] = layer === undefined ? [nodeEngine, openSslOfTests] : [openSslOfTests]
/** All engines. */
export const engines: readonly Engine[] =
  layer === undefined ? [...syncEngines, nobleEngine, webCryptoEngine] : syncEngines
/** Without noble, which is too slow for large bodies. */
export const fastEngines: readonly Engine[] =
  layer === undefined ? [nodeEngine, openSslOfTests, webCryptoEngine] : syncEngines
