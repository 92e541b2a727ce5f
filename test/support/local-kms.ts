/** The embedded key store as a `KeyManager`, set up for the conformance suite: it is a `KmsProvider`, which knows tenants and regions. */
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SseError } from '../../lib/errors.ts'
import type { KeyDescription } from '../../lib/kms/provider.ts'
import { LocalKms } from '../../lib/kms/local/local.ts'
import type { KeyManager, ManagedKey } from '../../lib/kms/manager.ts'
import type { ConformanceSetup } from '../../lib/testing.ts'

const scope = { region: 'sichuan', domainId: 'conformance' }

const told = ({ keyId, state, aliases, version, created, deletion }: KeyDescription): ManagedKey => {
  return { keyId, state, name: aliases[0], version, created, deletion }
}

/** A key store as a key manager of one tenant. */
export const localManager = (kms: LocalKms): KeyManager => {
  const named = async (name: string): Promise<readonly ManagedKey[]> =>
    (await kms.listKeys(scope)).filter(({ aliases }) => aliases.includes(name)).map(told)
  return {
    name: kms.name,
    bindsContext: kms.bindsContext,
    instance: 'local',
    generateDataKey: target => kms.generateDataKey(target),
    wrapDataKey: (key, target) => kms.wrapDataKey(key, target),
    unwrapDataKey: request => kms.unwrapDataKey(request),
    rewrapDataKey: request => kms.rewrapDataKey(request),
    describe: async key => told(await kms.describeKey({ keyId: key })),
    find: named,
    list: async () => (await kms.listKeys(scope)).map(told),
    create: async name => {
      try {
        return told(await kms.createKey({ ...scope, alias: name }))
      } catch (error) {
        const [found] = error instanceof SseError && error.code === 'InvalidArgument' ? await named(name) : []
        if (found === undefined) throw error
        return found
      }
    },
    rotate: async keyId => told(await kms.rotateKey({ keyId })),
    enable: async keyId => told(await kms.enableKey({ keyId })),
    disable: async keyId => told(await kms.disableKey({ keyId })),
    scheduleDeletion: async (keyId, options) => told(await kms.scheduleDeletion({ keyId }, options)),
    cancelDeletion: async keyId => told(await kms.cancelDeletion({ keyId })),
    close: () => kms.close(),
  }
}

const noSignal = 'a call reads a file at most; the façade lets go of it when it is aborted'

/** A key store in a folder of its own. */
export const localSetup = async (): Promise<ConformanceSetup> => {
  const folder = mkdtempSync(join(tmpdir(), 'conformance-'))
  const secret = randomBytes(32)
  const store = await LocalKms.open(folder, { root: { key: new Uint8Array(secret) } })
  const kms = localManager(store)
  const { keyId } = await store.createKey({ ...scope, alias: 'first' })
  const { keyId: otherKeyId } = await store.createKey({ ...scope, alias: 'other' })
  return {
    kms,
    keyId,
    otherKeyId,
    missing: keyId.replace(/[^/]*$/, '00000000-0000-4000-8000-000000000000'),
    spellings: ['alias/first', keyId.replace(/^.*\//, '')],
    secrets: [secret.toString('hex'), secret.toString('base64')],
    notApplicable: { 'abort before a call': noSignal, 'abort in the middle': noSignal },
    stop: () => {
      store.close()
      rmSync(folder, { recursive: true })
    },
  }
}
