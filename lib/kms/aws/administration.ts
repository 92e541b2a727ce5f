/** The master keys of AWS KMS: told of, made, switched and deleted. */
import {
  AlreadyExistsException,
  CancelKeyDeletionCommand,
  CreateAliasCommand,
  CreateKeyCommand,
  DescribeKeyCommand,
  DisableKeyCommand,
  EnableKeyCommand,
  type KeyMetadata,
  ListAliasesCommand,
  ListKeysCommand,
  RotateKeyOnDemandCommand,
  ScheduleKeyDeletionCommand,
} from '@aws-sdk/client-kms'
import { SseError } from '../../errors.ts'
import type { KeyManager, ManagedKey } from '../manager.ts'
import type { CallOptions, KeyState } from '../provider.ts'
import type { AwsClient } from './client.ts'
import { aliasOf, arnHere, checkReference, isArn, nameOf } from './ids.ts'

/** The part of a key manager that is about master keys. */
export type Administration = Required<
  Pick<
    KeyManager,
    'describe' | 'find' | 'list' | 'create' | 'rotate' | 'enable' | 'disable' | 'scheduleDeletion' | 'cancelDeletion'
  >
>

const stateOf = (state: string | undefined): KeyState => {
  if (state === 'PendingDeletion' || state === 'PendingReplicaDeletion') return 'pending-deletion'
  return state === 'Enabled' || state === 'Updating' ? 'enabled' : 'disabled'
}

const told = (metadata: KeyMetadata | undefined, name: string | undefined, asked?: string): ManagedKey => {
  const { Arn, KeyState: state, CreationDate: created, DeletionDate: deletion } = metadata ?? {}
  if (Arn === undefined) throw new SseError('KmsUnavailable', { cause: new TypeError('the answer names no key') })
  return {
    keyId: asked ?? Arn,
    state: stateOf(state),
    name,
    created: created?.getTime(),
    deletion: deletion?.getTime(),
  }
}

/** Whether data keys can be wrapped under it, and it is not one of AWS's own. */
const isOurs = ({ KeySpec, KeyManager: manager }: KeyMetadata): boolean =>
  KeySpec === 'SYMMETRIC_DEFAULT' && manager === 'CUSTOMER'

const isCode = (error: unknown, code: SseError['code']): boolean => error instanceof SseError && error.code === code

const atOnce = 8

/** The administration of the keys that a client sees. */
export const awsAdministration = (aws: AwsClient, multiRegion: boolean): Administration => {
  const metadataOf = async (KeyId: string, call: CallOptions | undefined): Promise<KeyMetadata | undefined> =>
    (
      await aws.ask('DescribeKey', call, (client, options) =>
        client.send(new DescribeKeyCommand({ KeyId, ...aws.grants() }), options),
      )
    ).KeyMetadata

  const describe: Administration['describe'] = async (key, call) => {
    if (!isArn(key)) {
      checkReference(key)
      return told(await metadataOf(key, call), nameOf(key))
    }
    const here = arnHere(key, await aws.region())
    const metadata = await metadataOf(here, call)
    aws.checkKey(metadata?.Arn, here)
    return told(metadata, undefined, key)
  }

  const named = async (name: string, call: CallOptions | undefined): Promise<ManagedKey | undefined> => {
    const alias = aliasOf(name)
    try {
      return told(await metadataOf(alias, call), name)
    } catch (error) {
      if (isCode(error, 'KeyNotFound')) return undefined
      throw error
    }
  }

  /** Changes a key, and tells of it as it is then. */
  const changed = async (
    keyId: string,
    call: CallOptions | undefined,
    change: (KeyId: string) => Promise<unknown>,
  ): Promise<ManagedKey> => {
    await change(arnHere(keyId, await aws.region()))
    return describe(keyId, call)
  }

  const names = async (call: CallOptions | undefined): Promise<ReadonlyMap<string, string>> => {
    const found = new Map<string, string>()
    let Marker: string | undefined
    do {
      const page = await aws.ask('ListAliases', call, (client, options) =>
        client.send(new ListAliasesCommand({ Marker }), options),
      )
      for (const { AliasName, TargetKeyId } of page.Aliases ?? []) {
        const name = nameOf(AliasName)
        if (name !== undefined && TargetKeyId !== undefined) found.set(TargetKeyId, name)
      }
      Marker = page.Truncated === true ? page.NextMarker : undefined
    } while (Marker !== undefined)
    return found
  }

  /** Metadata of a key that was listed; none where it is gone by now, or may not be seen. */
  const listed = async (arn: string, call: CallOptions | undefined): Promise<KeyMetadata | undefined> => {
    try {
      return await metadataOf(arn, call)
    } catch (error) {
      if (isCode(error, 'KeyNotFound') || isCode(error, 'KeyAccessDenied')) return undefined
      throw error
    }
  }

  /** Gives a key the alias of a name; `false` where another key has it. */
  const claim = (name: string, TargetKeyId: string, call: CallOptions | undefined): Promise<boolean> =>
    aws.ask('CreateAlias', call, async (client, options) => {
      try {
        await client.send(new CreateAliasCommand({ AliasName: aliasOf(name), TargetKeyId }), options)
        return true
      } catch (error) {
        if (error instanceof AlreadyExistsException) return false
        throw error
      }
    })

  /** A key that nobody knows of is not kept. What went wrong before matters more than whether this works. */
  const discard = async (KeyId: string): Promise<void> => {
    await aws
      .ask('ScheduleKeyDeletion', undefined, (client, options) =>
        client.send(new ScheduleKeyDeletionCommand({ KeyId, PendingWindowInDays: 7 }), options),
      )
      .catch(() => undefined)
  }

  return {
    describe,
    find: async (name, call) => {
      const found = await named(name, call)
      return found === undefined ? [] : [found]
    },
    list: async call => {
      const byId = await names(call)
      const keys: ManagedKey[] = []
      let Marker: string | undefined
      do {
        const page = await aws.ask('ListKeys', call, (client, options) =>
          client.send(new ListKeysCommand({ Marker }), options),
        )
        const arns = (page.Keys ?? []).flatMap(({ KeyArn }) => KeyArn ?? [])
        for (let i = 0; i < arns.length; i += atOnce) {
          const found = await Promise.all(arns.slice(i, i + atOnce).map(arn => listed(arn, call)))
          for (const metadata of found) {
            if (metadata !== undefined && isOurs(metadata)) keys.push(told(metadata, byId.get(metadata.KeyId ?? '')))
          }
        }
        Marker = page.Truncated === true ? page.NextMarker : undefined
      } while (Marker !== undefined)
      return keys
    },
    create: async (name, call) => {
      const found = await named(name, call)
      if (found !== undefined) return found
      const Description = `sse-kms-streams: ${name}`
      const input = { Description, ...(multiRegion ? { MultiRegion: true } : {}) }
      const answer = await aws.ask('CreateKey', call, (client, options) =>
        client.send(new CreateKeyCommand(input), options),
      )
      const made = told(answer.KeyMetadata, name)
      let isClaimed: boolean
      try {
        isClaimed = await claim(name, made.keyId, call)
      } catch (error) {
        // Where the outcome is not known, the key may have the alias and others may use it by now: it stays.
        if (isCode(error, 'KeyAccessDenied')) await discard(made.keyId)
        throw error
      }
      if (isClaimed) return made
      const winner = await named(name, call)
      if (winner === undefined) throw new SseError('KmsUnavailable')
      if (winner.keyId !== made.keyId) await discard(made.keyId)
      return winner
    },
    rotate: (keyId, call) =>
      changed(keyId, call, KeyId =>
        aws.ask('RotateKeyOnDemand', call, (client, options) =>
          client.send(new RotateKeyOnDemandCommand({ KeyId }), options),
        ),
      ),
    enable: (keyId, call) =>
      changed(keyId, call, KeyId =>
        aws.ask('EnableKey', call, (client, options) => client.send(new EnableKeyCommand({ KeyId }), options)),
      ),
    disable: (keyId, call) =>
      changed(keyId, call, KeyId =>
        aws.ask('DisableKey', call, (client, options) => client.send(new DisableKeyCommand({ KeyId }), options)),
      ),
    scheduleDeletion: (keyId, { days: PendingWindowInDays = 30 } = {}, call) =>
      changed(keyId, call, KeyId =>
        aws.ask('ScheduleKeyDeletion', call, (client, options) =>
          client.send(new ScheduleKeyDeletionCommand({ KeyId, PendingWindowInDays }), options),
        ),
      ),
    cancelDeletion: (keyId, call) =>
      changed(keyId, call, KeyId =>
        aws.ask('CancelKeyDeletion', call, (client, options) =>
          client.send(new CancelKeyDeletionCommand({ KeyId }), options),
        ),
      ),
  }
}
