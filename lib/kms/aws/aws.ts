/**
 * The provider `aws-kms`: master keys of AWS KMS. Needs the optional package `@aws-sdk/client-kms`.
 *
 * @module sse-kms-streams/kms/aws
 */
import {
  DecryptCommand,
  EncryptCommand,
  GenerateDataKeyCommand,
  type KMSClient,
  type KMSClientConfig,
  ReEncryptCommand,
} from '@aws-sdk/client-kms'
import { copy, wipe } from '../../bytes.ts'
import { keySize } from '../../cipher/suite.ts'
import { SseError } from '../../errors.ts'
import type { EncryptionContext } from '../context.ts'
import { DataKey } from '../data-key.ts'
import { checkInstance, type KeyManager } from '../manager.ts'
import type { UnwrapRequest, WrappedKey } from '../provider.ts'
import { maxBlob } from '../wrap.ts'
import { awsAdministration } from './administration.ts'
import { awsClient } from './client.ts'
import { arnHere } from './ids.ts'

/** How {@link awsKms} reaches AWS KMS. */
export interface AwsKmsOptions {
  /** Name of the configured instance, 1 to 32 of `[a-z0-9-]`; `aws` where left out. */
  readonly instance?: string | undefined
  /** The SDK's own configuration: region, credentials, endpoint, FIPS. Its `maxAttempts` is not used: there is one try a call. */
  readonly config?: KMSClientConfig | undefined
  /** A client to use instead; make it with `maxAttempts: 1`. `close` leaves it open. */
  readonly client?: KMSClient | undefined
  /** Grant tokens that go with calls, or a function that is asked for them at each call. */
  readonly grantTokens?: readonly string[] | (() => readonly string[]) | undefined
  /** Whether the keys that are made are multi-region keys; no where left out. */
  readonly multiRegion?: boolean | undefined
}

const name = 'aws-kms'

/** The context as AWS takes it: a map; none where it is empty. */
const contextOf = ({ entries }: EncryptionContext): Record<string, string> | undefined =>
  entries.size === 0 ? undefined : Object.fromEntries(entries)

/** The blob of a record of this provider; `NotAuthentic` where it cannot be one. */
const blobOf = ({ wrapped: { provider, wrapAlg, blob } }: UnwrapRequest): Uint8Array => {
  if (provider !== name || wrapAlg !== 1 || blob.length === 0 || blob.length > maxBlob) {
    throw new SseError('NotAuthentic')
  }
  return blob
}

const wrappedOf = (blob: Uint8Array | undefined, keyId: string): WrappedKey => {
  if (blob === undefined) return lacks('a blob')
  return { provider: name, keyId, wrapAlg: 1, blob: copy(blob) }
}

/** Takes a key out of an answer, and wipes it there: the SDK decodes into memory that it shares. */
const keyOf = (plaintext: Uint8Array | undefined): DataKey => {
  try {
    return plaintext?.length === keySize ? new DataKey(copy(plaintext)) : lacks('a key of 32 bytes')
  } finally {
    wipe(plaintext)
  }
}

const lacks = (what: string): never => {
  throw new SseError('KmsUnavailable', {
    message: 'AWS KMS gave an answer that cannot be right, so nothing was done with it.',
    cause: new TypeError(`the answer lacks ${what}`),
  })
}

/**
 * Master keys of AWS KMS. It connects at its first call. Full ids are the ARNs of keys in the client's region; a multi-region key of another
 * region is used as its replica in this one. Keys that `create` makes have the alias `alias/obs/NAME`.
 *
 * {@includeCode ../../../test/examples/aws.test.ts#aws}
 */
export const awsKms = (options: AwsKmsOptions = {}): KeyManager & AsyncDisposable => {
  const { config, client, grantTokens, multiRegion = false } = options
  const instance = checkInstance(options.instance ?? 'aws')
  const aws = awsClient({ client, config, grantTokens })

  return {
    name,
    instance,
    bindsContext: true,
    holds: keyId => {
      const [, region] = /^arn:[\w-]+:kms:([\w-]+):/.exec(keyId) ?? []
      const here = typeof config?.region === 'string' && !keyId.includes(':key/mrk-') ? config.region : region
      return region !== undefined && region === here
    },
    generateDataKey: async ({ keyId, context }, call) => {
      const KeyId = arnHere(keyId, await aws.region())
      const input = { KeyId, NumberOfBytes: keySize, EncryptionContext: contextOf(context), ...aws.grants() }
      const answer = await aws.ask('GenerateDataKey', call, (client, options) =>
        client.send(new GenerateDataKeyCommand(input), options),
      )
      const key = keyOf(answer.Plaintext)
      try {
        aws.checkKey(answer.KeyId, KeyId)
        return { key, wrapped: wrappedOf(answer.CiphertextBlob, keyId) }
      } catch (error) {
        key.dispose()
        throw error
      }
    },
    wrapDataKey: async (key, { keyId, context }, call) => {
      const KeyId = arnHere(keyId, await aws.region())
      const input = { KeyId, EncryptionContext: contextOf(context), ...aws.grants() }
      const answer = await aws.ask('Encrypt', call, (client, options) =>
        client.send(new EncryptCommand({ ...input, Plaintext: key.bytes }), options),
      )
      aws.checkKey(answer.KeyId, KeyId)
      return wrappedOf(answer.CiphertextBlob, keyId)
    },
    unwrapDataKey: async (request, call) => {
      const CiphertextBlob = blobOf(request)
      const KeyId = arnHere(request.wrapped.keyId, await aws.region())
      const input = { KeyId, CiphertextBlob, EncryptionContext: contextOf(request.context), ...aws.grants() }
      const answer = await aws.ask('Decrypt', call, (client, options) =>
        client.send(new DecryptCommand(input), options),
      )
      const key = keyOf(answer.Plaintext)
      try {
        aws.checkKey(answer.KeyId, KeyId)
        return key
      } catch (error) {
        key.dispose()
        throw error
      }
    },
    rewrapDataKey: async ({ from, to }, call) => {
      const CiphertextBlob = blobOf(from)
      const region = await aws.region()
      const SourceKeyId = arnHere(from.wrapped.keyId, region)
      const DestinationKeyId = arnHere(to.keyId, region)
      const input = {
        CiphertextBlob,
        SourceKeyId,
        SourceEncryptionContext: contextOf(from.context),
        DestinationKeyId,
        DestinationEncryptionContext: contextOf(to.context),
        ...aws.grants(),
      }
      const answer = await aws.ask('ReEncrypt', call, (client, options) =>
        client.send(new ReEncryptCommand(input), options),
      )
      aws.checkKey(answer.SourceKeyId, SourceKeyId)
      aws.checkKey(answer.KeyId, DestinationKeyId)
      return wrappedOf(answer.CiphertextBlob, to.keyId)
    },
    ...awsAdministration(aws, multiRegion),
    close: aws.close,
    [Symbol.asyncDispose]: async () => aws.close(),
  }
}
