/** The store of a configuration, opened for a command that looks at it beside the servers that use it: nothing is made, and nothing swept. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { SseError } from '../errors.ts'
import { indexKeyClaim } from '../gateway/index-key.ts'
import { openFileStore } from '../store/file/store.ts'
import type { ObjectStore } from '../store/store.ts'
import type { Config } from './config.ts'

/** The folder of the objects of a configuration whose index is on this machine. `FileFailed` where there is none. */
export const objectsFolder = ({ data, store }: Config): string => {
  const folder = join(data, 'objects')
  if (store?.embedded !== false && !existsSync(join(folder, 'index', 'data.mdb'))) {
    const message = `There is no store in ${folder}. Name the configuration or the data folder of the server.`
    throw new SseError('FileFailed', { message })
  }
  return folder
}

/** Opens the store of a configuration without sweeps, for a command beside its servers. `FileFailed` where no server has used it yet. */
export const openBeside = async (config: Config): Promise<ObjectStore> => {
  const setup = config.store ?? { open: openFileStore }
  const rows = await setup.open(objectsFolder(config), { sweepAll: false, sweepEvery: 0 })
  if ((await rows.claims()).has(indexKeyClaim)) return rows
  await rows.close()
  const message = 'The index has no index key: no server has used this store yet, or somebody took the key away.'
  throw new SseError('FileFailed', { message })
}
