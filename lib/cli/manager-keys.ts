/** What `sse-kms keys --kms` does: manages the keys of a key manager, as far as it can. */
import { SseError } from '../errors.ts'
import type { KeyManager, ManagedKey } from '../kms/manager.ts'
import { clientKeyId } from '../kms/registered.ts'
import { usage } from './failure.ts'
import { date, json, table } from './key-table.ts'
import { printable } from './printable.ts'

/** What is asked for. */
export interface ManagerAction {
  readonly manager: KeyManager
  /** Name of the action, such as `rotate`. */
  readonly name: string
  /** The key, for actions that take one. */
  readonly key: string
  /** The name of a new key. */
  readonly alias: string | undefined
  /** Days until a key is destroyed. */
  readonly days: number
  readonly json: boolean
}

const columns: readonly (readonly [title: string, cell: (key: ManagedKey) => string])[] = [
  ['KEY', key => key.keyId],
  ['STATE', ({ state, deletion }) => (deletion === undefined ? state : `${state} (${date(deletion)})`)],
  ['NAME', key => key.name ?? '-'],
  ['VERSION', key => String(key.version ?? '-')],
  ['CREATED', key => (key.created === undefined ? '-' : date(key.created))],
  ['ID FOR CLIENTS', key => clientKeyId(key.keyId)],
]

const cannot = (manager: KeyManager, action: string): SseError =>
  new SseError('NotImplemented', {
    message: `The key manager ${manager.instance} (${manager.name}) cannot ${action} keys. Use its own tools.`,
  })

const stateText = ({ keyId, state, version, deletion }: ManagedKey): string =>
  deletion === undefined
    ? `${printable(keyId)} is ${state}${version === undefined ? '' : `, version ${version}`}.\n`
    : `${printable(keyId)} will be destroyed on ${date(deletion)}. Everything encrypted under it is lost then.\n`

const shown = (key: ManagedKey) => ({ ...key, clientKeyId: clientKeyId(key.keyId) })

/** The output of an action. `NotImplemented` where the key manager cannot do it. */
export const runManagerAction = async (asked: ManagerAction): Promise<string> => {
  const { manager, name, key, alias, days } = asked
  if (name === 'list') {
    if (manager.list === undefined) throw cannot(manager, name)
    const keys = await manager.list()
    return asked.json ? json(keys.map(shown)) : table(columns, keys)
  }
  if (name === 'create') {
    if (manager.create === undefined) throw cannot(manager, name)
    if (alias === undefined || !/^[A-Za-z0-9_-]{1,200}$/.test(alias)) {
      throw usage('keys create --kms needs --alias NAME, 1 to 200 of A-Z, a-z, 0-9, _ and -')
    }
    const made = await manager.create(alias)
    return asked.json ? json(shown(made)) : `${made.keyId}\n`
  }
  const { keyId } = await manager.describe(key)
  const change = async (): Promise<ManagedKey> => {
    switch (name) {
      case 'disable':
        return manager.disable?.(keyId) ?? Promise.reject(cannot(manager, name))
      case 'enable':
        return manager.enable?.(keyId) ?? Promise.reject(cannot(manager, name))
      case 'rotate':
        return manager.rotate?.(keyId) ?? Promise.reject(cannot(manager, name))
      case 'delete':
        return manager.scheduleDeletion?.(keyId, { days }) ?? Promise.reject(cannot(manager, name))
      default:
        return manager.cancelDeletion?.(keyId) ?? Promise.reject(cannot(manager, name))
    }
  }
  const changed = await change()
  return asked.json ? json(shown(changed)) : stateText(changed)
}
