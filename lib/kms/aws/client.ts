/** The SDK's client as the provider uses it: one try a call, the caller's signal, and the errors of a provider. */
import { KMSClient, type KMSClientConfig } from '@aws-sdk/client-kms'
import { SseError } from '../../errors.ts'
import type { CallOptions } from '../provider.ts'
import { awsError } from './errors.ts'

/** Where calls go, and what goes with them. */
export interface AwsClientOptions {
  readonly client: KMSClient | undefined
  readonly config: KMSClientConfig | undefined
  readonly grantTokens: readonly string[] | (() => readonly string[]) | undefined
}

/** What the SDK takes beside a command. */
export interface SendOptions {
  abortSignal?: AbortSignal
}

/** A client, and what its answers are held to. */
export interface AwsClient {
  /** The region that calls go to. */
  region(): Promise<string>
  /** The grant tokens of a call, as commands take them. */
  grants(): { readonly GrantTokens?: string[] }
  /** Sends a command. Rejects with the signal's reason once it aborts, else with the errors of a provider. */
  ask<T>(
    action: string,
    call: CallOptions | undefined,
    run: (client: KMSClient, options: SendOptions) => Promise<T>,
  ): Promise<T>
  /** Throws `KmsUnavailable` unless the answer names the key that was asked for. */
  checkKey(answered: string | undefined, asked: string): void
  /** Ends the connections of a client that was made here. */
  close(): void
}

/** The client that is given, or one that is made at the first call. */
export const awsClient = ({ client: given, config, grantTokens }: AwsClientOptions): AwsClient => {
  let own: KMSClient | undefined
  let isClosed = false
  const client = (): KMSClient => {
    if (isClosed) throw new TypeError('the key manager was closed')
    return given ?? (own ??= new KMSClient({ ...config, maxAttempts: 1 }))
  }
  return {
    region: async () => {
      const { region } = client().config
      try {
        return await region()
      } catch {
        const message = 'The region of AWS KMS is not known. Give config.region, or set AWS_REGION.'
        throw new SseError('KmsUnavailable', { message })
      }
    },
    grants: () => {
      const tokens = typeof grantTokens === 'function' ? grantTokens() : grantTokens
      return tokens === undefined || tokens.length === 0 ? {} : { GrantTokens: [...tokens] }
    },
    ask: async (action, call, run) => {
      const signal = call?.signal
      signal?.throwIfAborted()
      const sender = client()
      try {
        return await run(sender, signal === undefined ? {} : { abortSignal: signal })
      } catch (error) {
        signal?.throwIfAborted()
        throw awsError(error, action)
      }
    },
    checkKey: (answered, asked) => {
      if (answered === asked) return
      const cause = new TypeError(`the answer names the key ${answered}, not ${asked}`)
      throw new SseError('KmsUnavailable', {
        message: 'AWS KMS used another key than it was asked to, so nothing was done with its answer.',
        cause,
      })
    },
    close: () => {
      isClosed = true
      own?.destroy()
    },
  }
}
