/** Cases of the conformance suite: master keys, their names and states. */
import { hex } from '../../bytes.ts'
import { randomBytes } from '../../cipher/random.ts'
import { type ErrorCode, SseError } from '../../errors.ts'
import type { KeyManager, ManagedKey } from '../manager.ts'
import type { KeyState } from '../provider.ts'
import {
  answerOf,
  checkTold,
  context,
  dataPath,
  fail,
  nameOf,
  rejects,
  unwrapsTo,
  withKey,
  works,
  wrap,
} from './expect.ts'
import type { ConformanceCase, ConformanceSetup } from './setup.ts'

/** A name that nothing has. */
const newName = (): string => `conformance-${hex(randomBytes(8))}`

/** Rejects unless each call of the data path rejects under this key with one of the codes. */
const isRefused = async (
  { kms, keyId: good }: ConformanceSetup,
  keyId: string,
  codes: readonly ErrorCode[],
): Promise<void> => {
  await withKey(async key => {
    const wrapped = { ...(await wrap(kms, key, { keyId: good, context })), keyId }
    for (const [name, run] of dataPath(kms, { target: { keyId, context }, from: { wrapped, context } })) {
      // Whoever has no such key may say so, or that its blob is not authentic.
      const allowed: readonly ErrorCode[] = /^(un|re)wrap/.test(name) ? [...codes, 'NotAuthentic'] : codes
      await rejects(`${name} under ${keyId}`, run, ...allowed)
    }
  })
}

const missing: ConformanceCase = {
  name: 'missing key',
  about: 'A key that there never was is KeyNotFound.',
  run: async setup => {
    if (setup.missing === undefined) return 'no missing key was named'
    const keyId = setup.missing
    await isRefused(setup, keyId, ['KeyNotFound'])
    await rejects(`describe of ${keyId}`, () => setup.kms.describe(keyId), 'KeyNotFound')
    return undefined
  },
}

/** The same key of another account, where ids are ARNs; else of another instance. */
const foreignOf = (keyId: string): string =>
  keyId.startsWith('arn:')
    ? keyId.replace(/^((?:[^:]*:){4})[^:]*/, '$1999999999999')
    : keyId.replace(/^[^:]*/, 'another-instance')

const foreign: ConformanceCase = {
  name: 'foreign key',
  about: 'A key of another instance or account is KeyNotFound, or KeyAccessDenied where its KMS says so.',
  run: async setup => {
    const keyId = setup.foreign ?? foreignOf(setup.keyId)
    const codes = ['KeyNotFound', 'KeyAccessDenied'] as const
    await isRefused(setup, keyId, codes)
    await rejects(`describe of ${keyId}`, () => setup.kms.describe(keyId), ...codes)
    return undefined
  },
}

const spellings: ConformanceCase = {
  name: 'another spelling',
  about:
    'On the data path a key has one spelling. An alias, a short id, capitals or spaces are no key; describe answers the one spelling.',
  run: async setup => {
    const { kms, keyId, spellings = [] } = setup
    const made = [keyId.toUpperCase(), keyId.toLowerCase(), `${keyId} `, ` ${keyId}`, `${keyId}/`, keyId.slice(1), '']
    for (const each of new Set([...spellings, ...made])) {
      if (each === keyId) continue
      await isRefused(setup, each, ['KeyNotFound', 'InvalidKeyId'])
      const told = await kms.describe(each).catch(() => undefined)
      if (told !== undefined && told.keyId !== keyId) fail(`describe of ${each} answers ${told.keyId}, not ${keyId}.`)
    }
    return undefined
  },
}

const disabled: ConformanceCase = {
  name: 'disabled key',
  about: 'A disabled key is KeyDisabled on every call, and works again when it is enabled.',
  run: async setup => {
    const { kms, otherKeyId: keyId } = setup
    const disable = setup.disable ?? changeOf(kms, 'disable', 'disabled')
    const enable = setup.enable ?? changeOf(kms, 'enable', 'enabled')
    if (disable === undefined || enable === undefined) return 'it cannot disable and enable keys'
    await withKey(async key => {
      const wrapped = await wrap(kms, key, { keyId, context })
      await answerOf('disable', () => disable(keyId))
      try {
        for (const [name, run] of dataPath(kms, { target: { keyId, context }, from: { wrapped, context } })) {
          await rejects(`${name} under a disabled key`, run, 'KeyDisabled')
        }
        const told = await answerOf('describe', () => kms.describe(keyId))
        checkTold('describe of a disabled key', told, { state: 'disabled' })
      } finally {
        await answerOf('enable', () => enable(keyId))
      }
      await unwrapsTo(kms, 'what was wrapped before', { wrapped, context }, key)
    })
    return undefined
  },
}

/** A change of a key's state that the key manager makes itself, with its answer checked. */
const changeOf = (
  kms: KeyManager,
  name: 'disable' | 'enable',
  state: KeyState,
): ((keyId: string) => Promise<void>) | undefined =>
  kms[name] && (async keyId => checkTold(name, await kms[name]?.(keyId), { keyId, state }))

const gone = ['KeyPendingDeletion', 'KeyNotFound'] as const
const dayMs = 86_400_000
/** Days that a deletion is asked to wait: most key managers allow as many, and it is the default of none. */
const days = 8

const deleted: ConformanceCase = {
  name: 'deleted key',
  about:
    'A key whose deletion was asked for is KeyPendingDeletion or KeyNotFound. Where a deletion can be cancelled, the key works again, and the next one waits for the days that are asked for.',
  run: async setup => {
    const { kms } = setup
    if (setup.deleted !== undefined) {
      await isRefused(setup, await answerOf('deleted of the setup', setup.deleted), gone)
      return undefined
    }
    if (kms.create === undefined || kms.scheduleDeletion === undefined) return 'it cannot make and delete keys'
    const { keyId } = await makeKey(kms, newName())
    await withKey(async key => {
      const wrapped = await wrap(kms, key, { keyId, context })
      const told = await answerOf('scheduleDeletion', () => kms.scheduleDeletion?.(keyId))
      checkTold('scheduleDeletion', told, { keyId, state: 'pending-deletion' })
      for (const [name, run] of dataPath(kms, { target: { keyId, context }, from: { wrapped, context } })) {
        await rejects(`${name} under a deleted key`, run, ...gone)
      }
      if (kms.cancelDeletion === undefined) return
      const kept = await answerOf('cancelDeletion', () => kms.cancelDeletion?.(keyId))
      checkTold('cancelDeletion', kept, { keyId })
      if (kept?.state === 'pending-deletion') fail('cancelDeletion answers that the key is pending-deletion.')
      const enable = setup.enable ?? changeOf(kms, 'enable', 'enabled')
      if (kept?.state === 'disabled') await answerOf('enable', () => enable?.(keyId))
      if (kept?.state === 'enabled' || enable !== undefined) {
        await unwrapsTo(kms, 'what was wrapped before', { wrapped, context }, key)
      }
      await waitsForDays(kms, keyId)
    })
    return undefined
  },
}

/** Deletes a key after so many days, or at once where the key manager says that it does not wait for them. */
const waitsForDays = async (kms: KeyManager, keyId: string): Promise<void> => {
  const begun = Date.now()
  let told: ManagedKey | undefined
  try {
    told = await kms.scheduleDeletion?.(keyId, { days })
  } catch (error) {
    if (!(error instanceof SseError) || error.code !== 'NotImplemented') {
      fail(`scheduleDeletion after ${days} days rejects with ${nameOf(error)}.`)
    }
    await answerOf('scheduleDeletion', () => kms.scheduleDeletion?.(keyId))
    return
  }
  checkTold('scheduleDeletion', told, { keyId, state: 'pending-deletion' })
  const waits = ((told?.deletion ?? 0) - begun) / dayMs
  if (Math.abs(waits - days) > 1) {
    fail(
      `scheduleDeletion after ${days} days answers a deletion in ${waits.toFixed(1)} days. Reject with NotImplemented where days cannot be chosen.`,
    )
  }
}

/** Makes a key, and checks what is told of it. */
const makeKey = async (kms: KeyManager, name: string): Promise<ManagedKey> => {
  const made = await answerOf('create', () => kms.create?.(name))
  checkTold('create', made, { state: 'enabled' })
  return made ?? fail('create answers no key.')
}

/** Deletes a key that a case has made, where that can be done. */
const discard = async (kms: KeyManager, keyId: string): Promise<void> => {
  try {
    await kms.scheduleDeletion?.(keyId)
  } catch {
    // Another case is about that.
  }
}

const rotation: ConformanceCase = {
  name: 'rotation',
  about: 'After a key got a new version, what older versions wrapped still unwraps and rewraps, and new keys wrap.',
  run: async setup => {
    const { kms, keyId } = setup
    const rotate =
      setup.rotate ?? (kms.rotate && (async () => checkTold('rotate', await kms.rotate?.(keyId), { keyId })))
    if (rotate === undefined) return 'its keys have no versions'
    await withKey(async key => {
      const wrapped = await wrap(kms, key, { keyId, context })
      const before = await answerOf('describe', () => kms.describe(keyId))
      await answerOf('rotate', () => rotate(keyId))
      const after = await answerOf('describe', () => kms.describe(keyId))
      if (after.keyId !== keyId) fail(`After a rotation the key is ${after.keyId}, not ${keyId}.`)
      if (before.version !== undefined && !((after.version ?? 0) > before.version)) {
        fail(`After a rotation the version is ${after.version}, and it was ${before.version}.`)
      }
      await unwrapsTo(kms, 'what the old version wrapped', { wrapped, context }, key)
      const request = { from: { wrapped, context }, to: { keyId, context } }
      const moved = await answerOf('rewrapDataKey after the rotation', () => kms.rewrapDataKey(request))
      await unwrapsTo(kms, 'what was rewrapped after the rotation', { wrapped: moved, context }, key)
      await works(kms, 'what the new version wrapped', keyId)
    })
    return undefined
  },
}

const names = /^[a-z0-9-]{1,32}$/

const naming: ConformanceCase = {
  name: 'names and ids',
  about:
    'name and instance are 1 to 32 of [a-z0-9-]. Full ids begin with the instance and a colon, unless they are ARNs; holds, where there is one, knows them.',
  run: async ({ kms, keyId, otherKeyId }) => {
    const { name, instance } = kms
    for (const [what, value] of Object.entries({ name, instance })) {
      if (!names.test(value)) fail(`${what} is ${String(value)}. It is 1 to 32 of [a-z0-9-].`)
    }
    for (const each of [keyId, otherKeyId]) {
      if (!each.startsWith('arn:') && !each.startsWith(`${instance}:`)) {
        fail(`The full id ${each} does not begin with the instance ${instance} and a colon.`)
      }
      if (kms.holds?.(each) === false) fail(`holds says no to ${each}.`)
    }
    if (kms.holds?.('another-instance:key') === true) fail('holds says yes to another-instance:key.')
    return undefined
  },
}

const describing: ConformanceCase = {
  name: 'describe',
  about: 'describe answers the full id and the state of a key, and times in ms since 1970.',
  run: async ({ kms, keyId, otherKeyId }) => {
    for (const each of [keyId, otherKeyId]) {
      const told = await answerOf('describe', () => kms.describe(each))
      checkTold('describe of an enabled key', told, { keyId: each, state: 'enabled' })
    }
    return undefined
  },
}

/** Keys that are told of, each checked. */
const keysOf = async (
  what: string,
  work: () => Promise<readonly ManagedKey[]> | undefined,
): Promise<readonly ManagedKey[]> => {
  const keys = await answerOf(what, work)
  if (keys === undefined || !Array.isArray(keys)) return fail(`${what} must answer an array of keys.`)
  for (const key of keys) checkTold(what, key)
  return keys
}

const listing: ConformanceCase = {
  name: 'list',
  about: 'list tells of all keys.',
  run: async ({ kms, keyId, otherKeyId }) => {
    if (kms.list === undefined) return 'it cannot list keys'
    const listed = await keysOf('list', () => kms.list?.())
    for (const each of [keyId, otherKeyId]) if (!has(listed, each)) fail(`list does not tell of ${each}.`)
    return undefined
  },
}

const finding: ConformanceCase = {
  name: 'find',
  about: 'find tells of a key by the name that it was made with, and answers [] for a name that no key has.',
  run: async ({ kms }) => {
    if (kms.find === undefined) return 'it cannot find keys by their names'
    const name = newName()
    const none = await keysOf('find of a name that no key has, which must answer [],', () => kms.find?.(name))
    if (none.length > 0) fail('find tells of a key by a name that no key has.')
    if (kms.create === undefined) return undefined
    const made = await makeKey(kms, name)
    try {
      const found = await keysOf('find', () => kms.find?.(name))
      if (!has(found, made.keyId)) fail('find does not tell of a key that was made with this name.')
      await works(kms, 'what a new key wrapped', made.keyId)
    } finally {
      await discard(kms, made.keyId)
    }
    return undefined
  },
}

const has = (keys: readonly ManagedKey[], keyId: string): boolean => keys.some(key => key.keyId === keyId)

const createAtOnce: ConformanceCase = {
  name: 'create by ten at once',
  about:
    'Ten that make a key of one name at once get keys that work: one and the same where names are locks, else keys that find tells of.',
  run: async ({ kms }) => {
    if (kms.create === undefined) return 'it cannot make keys'
    const name = newName()
    const ended = await Promise.allSettled(Array.from({ length: 10 }, async () => makeKey(kms, name)))
    const ids = new Set(ended.flatMap(each => (each.status === 'fulfilled' ? each.value.keyId : [])))
    try {
      for (const each of ended) {
        if (each.status === 'rejected') {
          fail(
            `${nameOf(each.reason)}. Ten that create one name at once must each get a key: answer the one that has the name.`,
          )
        }
      }
      if (ids.size > 1) {
        const found = kms.find === undefined ? [] : await keysOf('find', () => kms.find?.(name))
        for (const id of ids) if (!has(found, id)) fail(`${ids.size} keys were made, and find does not tell of ${id}.`)
      }
      for (const id of ids) await works(kms, 'what a new key wrapped', id)
    } finally {
      for (const id of ids) await discard(kms, id)
    }
    return undefined
  },
}

/** Master keys, their names and states. */
export const keys: readonly ConformanceCase[] = [
  naming,
  missing,
  foreign,
  spellings,
  disabled,
  deleted,
  rotation,
  describing,
  listing,
  finding,
  createAtOnce,
]
