/** The package as it was built: the public entries alone, so that two revisions can be loaded into one process. */
import type * as gateway from '../dist/gateway.js'
import type * as core from '../dist/index.js'
import type * as store from '../dist/store.js'

/** The entries of one revision. */
export interface Lib {
  readonly core: typeof core
  readonly store: typeof store
  readonly gateway: typeof gateway
}

/** Folder of this revision's build; ends with a slash. */
export const ownDist = new URL('../dist/', import.meta.url)

/** Loads a build. */
export const loadLib = async (dist: URL = ownDist): Promise<Lib> => ({
  core: await import(new URL('index.js', dist).href),
  store: await import(new URL('store.js', dist).href),
  gateway: await import(new URL('gateway.js', dist).href),
})
