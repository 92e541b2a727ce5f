/** The engine of commands that end soon. */
import type { Engine } from '../cipher/engine.ts'
import { chooseEngine } from '../object/node.ts'

/** `node:crypto`, unless `SSE_KMS_ENGINE` says otherwise: trying another engine takes longer than a small file. */
export const commandEngine = (): Promise<Engine> => {
  const named = process.env['SSE_KMS_ENGINE']
  return chooseEngine(named === undefined || named === '' ? 'node' : named)
}
