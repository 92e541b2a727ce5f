/** The keys of a server: its key managers, opened; which tenant's keys are where; and what a start tells of each of them. */
import { serviceDomain } from '../gateway/services.ts'
import type { LocalKms } from '../kms/local/local.ts'
import type { KeyManager } from '../kms/manager.ts'
import type { DataKeyWrapper, KeyAdministration } from '../kms/provider.ts'
import { recorded } from '../kms/recorded.ts'
import { defaultKeyClaim, type KeyRegister, registered } from '../kms/registered.ts'
import { type KeyRoute, routed } from '../kms/routed.ts'
import type { ObjectStore } from '../store/store.ts'
import type { Config } from './config.ts'
import { assertDefaultKeys, keyStoreClaim, openKeyStore } from './key-claims.ts'
import type { ManagerSetup, OutsideManager } from './key-managers.ts'
import { type KeyManagerState, stateOf } from './key-state.ts'

/** The keys of a server. */
export interface ServerKeys {
  /** What wraps and unwraps. */
  readonly wrappers: readonly DataKeyWrapper[]
  /** Where the index key lies: asked before the index can be trusted. */
  readonly forIndex: KeyAdministration
  /** The embedded key store, where it is one of them. */
  readonly local: LocalKms | undefined
  /** The keys of tenants, once the index can be trusted. `KeyringCorrupt` where a default key of the embedded key store is lost. */
  open(store: ObjectStore): Promise<KeyAdministration>
  /** Tries each key manager outside this program. Never rejects. */
  check(): Promise<readonly KeyManagerState[]>
  /** Ends connections, wipes secrets. */
  close(): Promise<void>
}

/** A key manager outside this program, opened. */
interface Opened {
  readonly setup: ManagerSetup & { readonly outside: OutsideManager }
  readonly manager: KeyManager
  /** The service's own keys, by their name: what the index key lies under. */
  readonly byName: KeyAdministration
  /** Its keys by tenant: with the register, once that can be read. */
  administration: KeyAdministration
}

type Route = { readonly setup: ManagerSetup } & ({ readonly local: LocalKms } | { readonly opened: Opened })

const administrationOf = (
  manager: KeyManager,
  { keys, createKeys: create }: OutsideManager,
  region: string,
  register?: KeyRegister,
): KeyAdministration =>
  registered(manager, {
    register,
    create,
    keys: keys.map(({ domainId, key, alias, default: isDefault }) => ({ region, domainId, key, alias, isDefault })),
  })

/**
 * Opens the key managers of a configuration. Rejects with what opens the embedded key store does, and with `InvalidConfig` and `MissingPeer`
 * where another one cannot be made; none of them is called yet.
 */
export const openServerKeys = async (
  { data, rootKey, region, tenants, kms: setups = [{ serves: () => true }] }: Config,
  rows: ObjectStore,
  warn: (message: string) => void,
): Promise<ServerKeys> => {
  const routes: Route[] = []
  const close = async (): Promise<void> => {
    for (const route of routes) await ('local' in route ? route.local : route.opened.manager).close?.()
  }
  const outside = () => routes.flatMap(route => ('opened' in route ? [route.opened] : []))
  try {
    for (const setup of setups) {
      const manager = await setup.outside?.open()
      if (manager === undefined || setup.outside === undefined) {
        routes.push({ setup, local: await openKeyStore(data, rootKey, rows, warn) })
        continue
      }
      const opened = { ...setup, outside: setup.outside }
      const administration = administrationOf(manager, setup.outside, region)
      routes.push({ setup, opened: { setup: opened, manager, byName: administration, administration } })
    }
  } catch (error) {
    await close()
    throw error
  }
  const local = routes.flatMap(route => ('local' in route ? [route.local] : []))[0]
  const keysOf = (route: Route): KeyRoute => ({
    keys: 'local' in route ? route.local : route.opened.administration,
    serves: route.setup.serves,
  })
  const service = { region, domainId: serviceDomain }

  const open = async (store: ObjectStore): Promise<KeyAdministration> => {
    const claims = await store.claims()
    if (local !== undefined) await assertDefaultKeys(data, local, store)
    else if (claims.has(keyStoreClaim)) {
      warn('objects may lie under the embedded key store, which kms does not name: add { "provider": "local" } to it')
    }
    const instances = new Set(outside().map(({ manager }) => manager.instance))
    for (const name of claims.keys()) {
      const [, , instance] = name.startsWith(defaultKeyClaim) ? name.slice(defaultKeyClaim.length).split('/') : []
      if (instance === undefined || instances.has(instance)) continue
      instances.add(instance)
      warn(`objects may lie under keys of the key manager ${instance}, which kms does not name`)
    }
    for (const opened of outside()) {
      opened.administration = administrationOf(opened.manager, opened.setup.outside, region, store)
    }
    return routed(
      routes.map(route => {
        const { keys, serves } = keysOf(route)
        return { keys: recorded(keys, store), serves }
      }),
    )
  }

  return {
    wrappers: routes.map(route => ('local' in route ? route.local : route.opened.manager)),
    forIndex: routed(routes.filter(({ setup }) => setup.serves(service)).map(keysOf)),
    local,
    open,
    check: () =>
      Promise.all(
        outside().map(opened => stateOf(opened, region, [...tenants.map(({ domainId }) => domainId), serviceDomain])),
      ),
    close,
  }
}
