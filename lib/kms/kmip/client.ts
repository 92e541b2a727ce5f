/** The operations of KMIP that this client knows, each as a function of plain values: payloads are written and read here alone. */
import { equal, wipe } from '../../bytes.ts'
import { wrongAnswer } from './failure.ts'
import { encodeRequest, parseAnswer, type RequestSetup } from './message.ts'
import type { Pool, Sending } from './pool.ts'
import { attributeNames, type Operation, tags, values } from './tags.ts'
import { bytes, enumeration, integer, type Item, itemOf, itemsOf, structure, text } from './ttlv.ts'

/** Bytes of the nonce of AES-GCM. */
export const nonceSize = 12
/** Bytes of the tag of AES-GCM. */
export const tagSize = 16

/** What a server tells of a key. What it does not tell is left out. */
export interface KeyAttributes {
  readonly uid: string
  readonly state: number | undefined
  readonly names: readonly string[]
  readonly algorithm: number | undefined
  readonly length: number | undefined
  /** When it was made, in ms since 1970. */
  readonly created: number | undefined
}

const asked = [
  'Unique Identifier',
  'State',
  'Name',
  'Cryptographic Algorithm',
  'Cryptographic Length',
  'Initial Date',
] as const
const aesGcm = structure(
  tags.parameters,
  enumeration(tags.blockCipherMode, values.gcm),
  enumeration(tags.algorithm, values.aes),
  integer(tags.tagLength, tagSize),
)
const nameValue = (name: string): readonly Item[] => [
  text(tags.nameValue, name),
  enumeration(tags.nameType, values.uninterpretedText),
]

/** An attribute up to KMIP 1.4, under its name; from 2.0 on, it is its value under its tag. */
const attributeNamesByTag: ReadonlyMap<number, string> = new Map(
  Object.entries(attributeNames).map(([name, tag]) => [tag, name]),
)

/** A KMIP server. Rejects with a `Refusal` where it says no; otherwise as `Pool.send` and `parseAnswer` do. */
export class Client {
  readonly #setup: RequestSetup
  readonly #pool: Pool

  /** Requests go through this pool. */
  constructor(setup: RequestSetup, pool: Pool) {
    this.#setup = setup
    this.#pool = pool
  }

  /** Makes an AES-256 key that encrypts and decrypts; answers its id. It is not active yet. Never sent twice. */
  create(name: string, sending: Sending): Promise<string> {
    const attributes = this.#attributes([
      enumeration(tags.algorithm, values.aes),
      integer(tags.length, 256),
      integer(tags.usageMask, values.encryptAndDecrypt),
      structure(tags.name, ...nameValue(name)),
    ])
    const list =
      this.#setup.version === '1.4'
        ? structure(tags.templateAttribute, ...attributes)
        : structure(tags.attributes, ...attributes)
    const payload = [enumeration(tags.objectType, values.symmetricKey), list]
    return this.#call('Create', payload, { ...sending, once: true }, uidOf)
  }

  /** Lets a key be used. */
  activate(uid: string, sending: Sending): Promise<string> {
    return this.#call('Activate', [text(tags.uniqueIdentifier, uid)], sending, checkUid(uid))
  }

  /** Ends the use of an active key, for good. */
  revoke(uid: string, sending: Sending): Promise<string> {
    const reason = structure(tags.revocationReason, enumeration(tags.revocationReasonCode, values.cessationOfOperation))
    return this.#call('Revoke', [text(tags.uniqueIdentifier, uid), reason], sending, checkUid(uid))
  }

  /** Destroys a key that is not active. */
  destroy(uid: string, sending: Sending): Promise<string> {
    return this.#call('Destroy', [text(tags.uniqueIdentifier, uid)], sending, checkUid(uid))
  }

  /** Ids of the AES-256 keys, of those with this name where one is given. */
  locate(name: string | undefined, sending: Sending): Promise<readonly string[]> {
    const attributes = this.#attributes([
      enumeration(tags.objectType, values.symmetricKey),
      enumeration(tags.algorithm, values.aes),
      integer(tags.length, 256),
      ...(name === undefined ? [] : [structure(tags.name, ...nameValue(name))]),
    ])
    const payload = this.#setup.version === '1.4' ? attributes : [structure(tags.attributes, ...attributes)]
    return this.#call('Locate', payload, sending, answer => itemsOf(answer, tags.uniqueIdentifier, 'text'))
  }

  /** What the server tells of a key. Its `uid` is as the server spells it. */
  attributes(uid: string, sending: Sending): Promise<KeyAttributes> {
    const names = asked.map(name =>
      this.#setup.version === '1.4'
        ? text(tags.attributeName, name)
        : enumeration(tags.attributeReference, attributeNames[name]),
    )
    return this.#call('Get Attributes', [text(tags.uniqueIdentifier, uid), ...names], sending, answer => {
      const found = this.#readAttributes(answer)
      const date = itemOf(found, tags.initialDate, 'date')
      return {
        uid: itemOf(found, tags.uniqueIdentifier, 'text') ?? uidOf(answer),
        state: itemOf(found, tags.state, 'enumeration'),
        names: itemsOf(found, tags.name, 'structure').flatMap(name => itemsOf(name, tags.nameValue, 'text')),
        algorithm: itemOf(found, tags.algorithm, 'enumeration'),
        length: itemOf(found, tags.length, 'integer'),
        created: date === undefined ? undefined : Number(date) * 1000,
      }
    })
  }

  /** AES-256-GCM of a data key: its ciphertext and tag. */
  encrypt(uid: string, plain: Uint8Array, nonce: Uint8Array, additional: Uint8Array, sending: Sending) {
    const payload = [
      text(tags.uniqueIdentifier, uid),
      aesGcm,
      bytes(tags.data, plain),
      bytes(tags.nonce, nonce),
      bytes(tags.additionalData, additional),
    ]
    return this.#call('Encrypt', payload, sending, answer => {
      checkUid(uid)(answer)
      const used = itemOf(answer, tags.nonce, 'bytes')
      if (used !== undefined && !equal(used, nonce)) return wrongAnswer('another nonce was used')
      return {
        data: sized(answer, tags.data, plain.length),
        tag: sized(answer, tags.authenticationTag, tagSize),
      }
    })
  }

  /** The data key again, in memory of its own. */
  decrypt(
    uid: string,
    sealed: { readonly nonce: Uint8Array; readonly data: Uint8Array; readonly tag: Uint8Array },
    additional: Uint8Array,
    sending: Sending,
  ): Promise<Uint8Array> {
    const payload = [
      text(tags.uniqueIdentifier, uid),
      aesGcm,
      bytes(tags.data, sealed.data),
      bytes(tags.nonce, sealed.nonce),
      bytes(tags.additionalData, additional),
      bytes(tags.authenticationTag, sealed.tag),
    ]
    return this.#call('Decrypt', payload, sending, answer => {
      checkUid(uid)(answer)
      return sized(answer, tags.data, sealed.data.length)
    })
  }

  async #call<T>(
    operation: Operation,
    payload: readonly Item[],
    sending: Sending,
    read: (answer: readonly Item[]) => T,
  ): Promise<T> {
    const message = encodeRequest(this.#setup, operation, payload)
    let answer: Uint8Array | undefined
    try {
      answer = await this.#pool.send(message, sending)
      return read(parseAnswer(answer, operation))
    } finally {
      wipe(message, answer)
    }
  }

  #attributes(list: readonly Item[]): readonly Item[] {
    if (this.#setup.version !== '1.4') return list
    return list.map(item =>
      structure(tags.attribute, text(tags.attributeName, attributeNamesByTag.get(item.tag) ?? ''), {
        ...item,
        tag: tags.attributeValue,
      }),
    )
  }

  #readAttributes(answer: readonly Item[]): readonly Item[] {
    if (this.#setup.version !== '1.4') return itemOf(answer, tags.attributes, 'structure') ?? []
    const named = new Map<string, number>(Object.entries(attributeNames))
    return itemsOf(answer, tags.attribute, 'structure').flatMap(attribute => {
      const tag = named.get(itemOf(attribute, tags.attributeName, 'text') ?? '')
      const value = attribute.find(item => item.tag === tags.attributeValue)
      return tag === undefined || value === undefined ? [] : [{ ...value, tag }]
    })
  }
}

const uidOf = (answer: readonly Item[]): string =>
  itemOf(answer, tags.uniqueIdentifier, 'text') ?? wrongAnswer('it names no key')

const checkUid =
  (uid: string) =>
  (answer: readonly Item[]): string =>
    uidOf(answer) === uid ? uid : wrongAnswer('it names another key')

/** A copy of bytes that must have this length. */
const sized = (answer: readonly Item[], tag: number, size: number): Uint8Array => {
  const value = itemOf(answer, tag, 'bytes')
  if (value?.length !== size) return wrongAnswer(`the item ${tag.toString(16)} has not ${size} bytes`)
  return new Uint8Array(value)
}
