/** The driver for either kind of engine. An AEAD that the engine lacks (suite 3 with WebCrypto) is noble's. */
import type { Engine } from '../cipher/engine.ts'
import { nobleEngine } from '../cipher/noble.ts'
import type { Aead } from '../cipher/suite.ts'
import { type Driver, strict } from './driver.ts'
import { openOver, type OpenParts } from './sync.ts'
import { sealOver, type SealParts } from './sync.ts'
import { openWithin, sealWithin } from './async.ts'

const able = (engine: Engine, aead: Aead): Engine => (engine.supports(aead) ? engine : nobleEngine)

/** A driver that seals one stream. */
export const seal = (engine: Engine, parts: SealParts): Driver => {
  const chosen = able(engine, parts.suite.aead)
  return strict(chosen.synchronous ? sealOver(chosen, parts) : sealWithin(chosen, parts))
}

/** A driver that opens runs of segments. */
export const open = (engine: Engine, parts: OpenParts): Driver => {
  const chosen = able(engine, parts.suite.aead)
  return strict(chosen.synchronous ? openOver(chosen, parts) : openWithin(chosen, parts))
}
