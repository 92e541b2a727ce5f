/** Cases of the conformance suite: master keys, their names and states. */
import { hex } from '../../bytes.ts'
import { randomBytes } from '../../cipher/random.ts'
import type { ErrorCode } from '../../errors.ts'
import type { ManagedKey } from '../manager.ts'
import { context, dataPath, fail, rejects, unwrapsTo, withKey, works, wrap } from './expect.ts'
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
    const disable = setup.disable ?? (kms.disable === undefined ? undefined : () => kms.disable?.(keyId))
    const enable = setup.enable ?? (kms.enable === undefined ? undefined : () => kms.enable?.(keyId))
    if (disable === undefined || enable === undefined) return 'it cannot disable and enable keys'
    await withKey(async key => {
      const wrapped = await wrap(kms, key, { keyId, context })
      await disable(keyId)
      try {
        for (const [name, run] of dataPath(kms, { target: { keyId, context }, from: { wrapped, context } })) {
          await rejects(`${name} under a disabled key`, run, 'KeyDisabled')
        }
        const { state } = await kms.describe(keyId)
        if (state !== 'disabled') fail(`describe of a disabled key answers that it is ${state}.`)
      } finally {
        await enable(keyId)
      }
      await unwrapsTo(kms, 'what was wrapped before', { wrapped, context }, key)
    })
    return undefined
  },
}

const gone = ['KeyPendingDeletion', 'KeyNotFound'] as const

const deleted: ConformanceCase = {
  name: 'deleted key',
  about:
    'A key whose deletion was asked for is KeyPendingDeletion or KeyNotFound. Where a deletion can be cancelled, the key works again.',
  run: async setup => {
    const { kms } = setup
    if (setup.deleted !== undefined) {
      await isRefused(setup, await setup.deleted(), gone)
      return undefined
    }
    if (kms.create === undefined || kms.scheduleDeletion === undefined) return 'it cannot make and delete keys'
    const { keyId } = await kms.create(newName())
    await withKey(async key => {
      const wrapped = await wrap(kms, key, { keyId, context })
      const told = await kms.scheduleDeletion?.(keyId)
      for (const [name, run] of dataPath(kms, { target: { keyId, context }, from: { wrapped, context } })) {
        await rejects(`${name} under a deleted key`, run, ...gone)
      }
      if (told?.state !== 'pending-deletion' || kms.cancelDeletion === undefined) return
      const kept = await kms.cancelDeletion(keyId)
      if (kept.state === 'disabled') await kms.enable?.(keyId)
      await unwrapsTo(kms, 'what was wrapped before', { wrapped, context }, key)
      await kms.scheduleDeletion?.(keyId)
    })
    return undefined
  },
}

const rotation: ConformanceCase = {
  name: 'rotation',
  about: 'After a key got a new version, what older versions wrapped still unwraps and rewraps, and new keys wrap.',
  run: async setup => {
    const { kms, keyId } = setup
    const rotate = setup.rotate ?? (kms.rotate === undefined ? undefined : () => kms.rotate?.(keyId))
    if (rotate === undefined) return 'its keys have no versions'
    await withKey(async key => {
      const wrapped = await wrap(kms, key, { keyId, context })
      const before = await kms.describe(keyId)
      await rotate(keyId)
      const after = await kms.describe(keyId)
      if (after.keyId !== keyId) fail(`After a rotation the key is ${after.keyId}, not ${keyId}.`)
      if (before.version !== undefined && !((after.version ?? 0) > before.version)) {
        fail(`After a rotation the version is ${after.version}, and it was ${before.version}.`)
      }
      await unwrapsTo(kms, 'what the old version wrapped', { wrapped, context }, key)
      const moved = await kms.rewrapDataKey({ from: { wrapped, context }, to: { keyId, context } })
      await unwrapsTo(kms, 'what was rewrapped after the rotation', { wrapped: moved, context }, key)
      await works(kms, 'what the new version wrapped', keyId)
    })
    return undefined
  },
}

const telling: ConformanceCase = {
  name: 'describe, find and list',
  about:
    'describe answers the full id and state of a key; list tells of all keys; find tells of a key by its name, and of none by another.',
  run: async ({ kms, keyId, otherKeyId }) => {
    const told = await kms.describe(keyId)
    if (told.keyId !== keyId) fail(`describe answers ${told.keyId}, not ${keyId}.`)
    if (told.state !== 'enabled') fail(`describe of an enabled key answers that it is ${told.state}.`)
    const listed = kms.list === undefined ? undefined : await kms.list()
    for (const each of [keyId, otherKeyId]) {
      if (listed !== undefined && !has(listed, each)) fail(`list does not tell of ${each}.`)
    }
    if (kms.find === undefined) return undefined
    const name = newName()
    const none = await kms.find(name)
    if (none.length > 0) fail('find tells of a key by a name that no key has.')
    if (kms.create === undefined) return undefined
    const made = await kms.create(name)
    try {
      if (!has(await kms.find(name), made.keyId)) fail('find does not tell of a key that was made with this name.')
      if (made.state !== 'enabled') fail(`create answers a key that is ${made.state}.`)
      await works(kms, 'what a new key wrapped', made.keyId)
    } finally {
      await kms.scheduleDeletion?.(made.keyId).catch(() => undefined)
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
    const made = await Promise.all(Array.from({ length: 10 }, () => kms.create?.(name)))
    const ids = new Set(made.flatMap(key => key?.keyId ?? []))
    try {
      if (ids.size > 1) {
        const found = (await kms.find?.(name)) ?? []
        for (const id of ids) if (!has(found, id)) fail(`${ids.size} keys were made, and find does not tell of ${id}.`)
      }
      for (const id of ids) await works(kms, 'what a new key wrapped', id)
    } finally {
      for (const id of ids) await kms.scheduleDeletion?.(id).catch(() => undefined)
    }
    return undefined
  },
}

/** Master keys, their names and states. */
export const keys: readonly ConformanceCase[] = [
  missing,
  foreign,
  spellings,
  disabled,
  deleted,
  rotation,
  telling,
  createAtOnce,
]
