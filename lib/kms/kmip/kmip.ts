/**
 * The provider `kmip`: master keys in a KMIP server. It wraps data keys with AES-256-GCM inside the server, over TLS; no master key ever
 * leaves it. Blobs are nonce[12] ‖ ciphertext[32] ‖ tag[16] (format.md, section 6).
 *
 * @module sse-kms-streams/kms/kmip
 */
import { createSecureContext, type SecureContext } from 'node:tls'
import { checkInstance, holdsKeysOf, type KeyManager } from '../manager.ts'
import { wrapperOf } from '../wrap.ts'
import { Client } from './client.ts'
import { KmipKeys } from './keys.ts'
import type { KmipCredential, KmipVersion } from './message.ts'
import { Pool } from './pool.ts'
import { KmipWrapper } from './wrapper.ts'

export type { KmipCredential, KmipVersion }

/** Certificates, as `node:tls` takes them: PEM. The server's certificate is always checked. */
export interface KmipTls {
  /** Authorities that the server's certificate may come from; those that Node knows where it is left out. */
  readonly ca?: string | Uint8Array | undefined
  /** This client's certificate. */
  readonly cert?: string | Uint8Array | undefined
  /** The key of that certificate. */
  readonly key?: string | Uint8Array | undefined
  /** What the key is encrypted with. */
  readonly passphrase?: string | undefined
  /** Name in the server's certificate, where it is not the host. */
  readonly servername?: string | undefined
}

/** Where the KMIP server is, and how it is spoken to. */
export interface KmipOptions {
  /** Name of this server, 1 to 32 of `[a-z0-9-]`. Ids begin with it, so it must never change. */
  readonly instance: string
  /** Name or address of the server. */
  readonly host: string
  /** Its port; 5696 by default. */
  readonly port?: number | undefined
  /** Certificates. */
  readonly tls?: KmipTls | undefined
  /** User name and password, where the server wants them besides the certificate. */
  readonly credential?: KmipCredential | undefined
  /** Version of the protocol; 1.4 by default. */
  readonly version?: KmipVersion | undefined
  /** Connections at once, 1 to 1,000; 8 by default. */
  readonly connections?: number | undefined
  /** Requests that wait for a connection, before further ones are `KmsThrottled`; 1,000 by default. */
  readonly queue?: number | undefined
  /** Bytes of the longest answer, 512 to 16 MiB; 1 MiB by default. Listings of many keys have long ones. */
  readonly maxAnswer?: number | undefined
}

/** What a KMIP server can do: all but to enable keys again, to rotate them and to take back a deletion. */
export type KmipKms = KeyManager &
  AsyncDisposable &
  Required<Pick<KeyManager, 'find' | 'list' | 'create' | 'disable' | 'scheduleDeletion' | 'close'>>

/**
 * Master keys in a KMIP server. It connects when it is first used. `TypeError` where a certificate or key is not PEM, `RangeError` where
 * another option is out of its bounds.
 *
 * {@includeCode ../../../test/examples/kmip.test.ts#kmip}
 */
export const kmipKms = (options: KmipOptions): KmipKms => {
  const { host, port = 5696, tls = {}, credential, version = '1.4' } = options
  const instance = checkInstance(options.instance)
  if (version !== '1.4' && version !== '2.0') throw new RangeError('version is 1.4 or 2.0')
  const maxAnswer = within('maxAnswer', options.maxAnswer ?? 1_048_576, 512, 16_777_216)
  const endpoint = {
    host,
    port: within('port', port, 1, 65_535),
    servername: tls.servername,
    secureContext: secureContextOf(tls),
    maxAnswer,
  }
  const pool = new Pool(endpoint, {
    connections: within('connections', options.connections ?? 8, 1, 1000),
    queue: within('queue', options.queue ?? 1000, 0, 1_000_000),
  })
  const client = new Client({ version, credential, maxAnswer }, pool)
  const keys = new KmipKeys(instance, client)
  const wrapper = new KmipWrapper(keys, client)
  return {
    name: 'kmip',
    instance,
    bindsContext: true,
    holds: holdsKeysOf(instance),
    ...wrapperOf((key, target, call) => wrapper.wrap(key, target, call)),
    unwrapDataKey: (request, call) => wrapper.unwrap(request, call),
    rewrapDataKey: (request, call) => wrapper.rewrap(request, call),
    describe: (key, call) => keys.describe(key, call),
    find: (name, call) => keys.find(name, call),
    list: call => keys.list(call),
    create: (name, call) => keys.create(name, call),
    disable: (keyId, call) => keys.disable(keyId, call),
    scheduleDeletion: (keyId, _, call) => keys.destroy(keyId, call),
    close: () => pool.close(),
    [Symbol.asyncDispose]: async () => pool.close(),
  }
}

const within = (name: string, value: number, least: number, most: number): number => {
  if (Number.isSafeInteger(value) && value >= least && value <= most) return value
  throw new RangeError(`${name} is an integer from ${least} to ${most}`)
}

const secureContextOf = ({ ca, cert, key, passphrase }: KmipTls): SecureContext => {
  const pem = (value: string | Uint8Array | undefined) => (value === undefined ? undefined : Buffer.from(value))
  try {
    return createSecureContext({
      ca: pem(ca),
      cert: pem(cert),
      key: pem(key),
      passphrase,
      minVersion: 'TLSv1.2',
    })
  } catch (cause) {
    throw new TypeError('tls: ca, cert and key must be PEM, and the key must be that of the certificate', { cause })
  }
}
