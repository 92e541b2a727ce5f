/** The engine where none is named: `node:crypto`, or the next one that passes where a runtime lacks a part of it. */
import { pickEngine } from './choose.ts'
import type { Engine } from './engine.ts'
import { nobleEngine } from './noble.ts'
import { nodeEngine } from './node.ts'
import { webCryptoEngine } from './web.ts'

/** The first of node, WebCrypto and noble that passes its self-test. */
export const defaultEngine = (): Promise<Engine> => pickEngine([nodeEngine, webCryptoEngine, nobleEngine])
