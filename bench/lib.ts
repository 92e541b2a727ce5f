/** The package as it was built: the public entries alone, so that two revisions can be loaded into one process. */
import { existsSync } from 'node:fs'
import type * as gateway from '../dist/gateway.js'
import type * as core from '../dist/index.js'
import type * as rules from '../dist/rules.js'
import type * as store from '../dist/store.js'

/** The entries of one revision. */
export interface Lib {
  readonly core: typeof core
  readonly store: typeof store
  readonly gateway: typeof gateway & Pick<typeof rules, 'createProfile'>
}

/** Folder of this revision's build; ends with a slash. */
export const ownDist = new URL('../dist/', import.meta.url)

/** Loads a build. Older revisions have no `openssl` and `rules`: what these export was in `index` and `gateway`. */
export const loadLib = async (dist: URL = ownDist): Promise<Lib> => {
  const load = (name: string) => import(new URL(name, dist).href)
  const optional = (name: string) => (existsSync(new URL(name, dist)) ? load(name) : {})
  return {
    core: { ...(await load('index.js')), ...(await optional('openssl.js')) },
    store: await load('store.js'),
    gateway: { ...(await load('gateway.js')), ...(await optional('rules.js')) },
  }
}
