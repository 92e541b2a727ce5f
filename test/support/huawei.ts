/**
 * A stand-in for Huawei Cloud's key service, which cannot be reached here: the documented requests, answers and error codes, with real
 * cryptography (AES-256-GCM under each key) and signatures that are verified.
 */
import { createCipheriv, createDecipheriv, createHash, createHmac, randomBytes, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { huaweiKms, type HuaweiOptions } from '../../lib/kms/huawei/huawei.ts'
import type { KeyManager } from '../../lib/kms/manager.ts'
import type { ConformanceSetup, Fault } from '../../lib/kms/testing/setup.ts'

interface Key {
  readonly alias: string
  readonly secret: Buffer
  readonly created: number
  state: '2' | '3' | '4'
  deletion: number
}
type Answer = readonly [status: number, body?: unknown, headers?: Readonly<Record<string, string>>]

const failed = (status: number, error_code: string, error_msg: string): Answer => [
  status,
  { error: { error_code, error_msg } },
]
const hash = (bytes: Uint8Array | string) => createHash('sha256').update(bytes)
const upper = (bytes: Buffer): string => bytes.toString('hex').toUpperCase()

/** The key service of one project. Its fields may be changed while it runs. */
export class FakeDew {
  readonly project = 'd575b0b740e54221aeb9a165653b103d'
  readonly accessKey = 'QTWAOYTTINDUT2QVKYUC'
  readonly secretKey = randomBytes(20).toString('hex')
  readonly securityToken = randomBytes(30).toString('base64')
  readonly token = randomBytes(30).toString('base64')
  readonly keys = new Map<string, Key>()
  readonly requests: string[] = []
  /** Answers in place of the service where it returns something. */
  interposed: ((action: string) => Answer | undefined | Promise<Answer | undefined>) | undefined
  #server: Server | undefined
  #port = 0

  get address(): string {
    return `http://127.0.0.1:${this.#port}`
  }

  /** Starts, or starts again at the same address. */
  async start(): Promise<this> {
    this.#server = createServer((req, res) => {
      void this.#answer(req).then(([status, body, headers = {}]) => {
        res.writeHead(status, { 'content-type': 'application/json', ...headers })
        res.end(typeof body === 'string' ? body : JSON.stringify(body ?? {}))
      })
    }).listen(this.#port, '127.0.0.1')
    await once(this.#server, 'listening')
    const address = this.#server.address()
    if (typeof address === 'object' && address !== null) this.#port = address.port
    return this
  }

  /** Stops as a process that is killed does. */
  async stop(): Promise<void> {
    const server = this.#server
    if (server === undefined) return
    this.#server = undefined
    const closed = once(server, 'close')
    server.close()
    server.closeAllConnections()
    await closed
  }

  #isSigned({ method, url, headers }: IncomingMessage, body: Buffer): boolean {
    if (headers['x-auth-token'] !== undefined) return headers['x-auth-token'] === this.token
    const security = headers['x-security-token']
    if (security !== undefined && security !== this.securityToken) return false
    const given = /^SDK-HMAC-SHA256 Access=(\w+), SignedHeaders=([\w;-]+), Signature=(\w+)$/.exec(
      headers.authorization ?? '',
    )
    const [, access, names = '', signature] = given ?? []
    if (access !== this.accessKey || !names.includes('x-sdk-date') || !names.includes('host')) return false
    const lines = names.split(';').map(name => `${name}:${String(headers[name])}\n`)
    const canonical = `${method}\n${url}/\n\n${lines.join('')}\n${names}\n${hash(body).digest('hex')}`
    const text = `SDK-HMAC-SHA256\n${String(headers['x-sdk-date'])}\n${hash(canonical).digest('hex')}`
    return signature === createHmac('sha256', this.secretKey).update(text).digest('hex')
  }

  async #answer(req: IncomingMessage): Promise<Answer> {
    const body = await buffer(req)
    const [, project, action = ''] = /^\/v1\.0\/(\w+)\/kms\/([\w-]+)$/.exec(req.url ?? '') ?? []
    this.requests.push(action)
    const other = await this.interposed?.(action)
    if (other !== undefined) return other
    if (!this.#isSigned(req, body)) {
      const error_msg = 'Incorrect IAM authentication information: verify aksk signature fail'
      return [401, { error_msg, error_code: 'APIGW.0301', request_id: randomUUID() }]
    }
    if (project !== this.project) return failed(403, 'KMS.0306', 'The user has no permission to access the key.')
    const given: Readonly<Record<string, string>> = JSON.parse(String(body))
    if (action === 'create-key') return this.#create(String(given['key_alias']))
    if (action === 'list-keys') return this.#list(Number(given['limit']), Number(given['marker'] ?? 0))
    const id = String(given['key_id'])
    const key = this.keys.get(id)
    if (key === undefined) return failed(400, 'KMS.0207', 'The key does not exist.')
    return this.#withKey(action, id, key, given)
  }

  #create(alias: string): Answer {
    const taken = [...this.keys.values()].some(key => key.alias === alias)
    if (taken) return failed(400, 'KMS.1104', 'Existing CMK alias.')
    const key_id = randomUUID()
    this.keys.set(key_id, { alias, secret: randomBytes(32), created: Date.now(), state: '2', deletion: 0 })
    return [200, { key_info: { key_id, domain_id: 'd' } }]
  }

  #list(limit: number, marker: number): Answer {
    const all = [...this.keys].map(([id, key]) => details(id, key))
    const page = all.slice(marker, marker + limit)
    const truncated = marker + limit < all.length
    const next_marker = truncated ? String(marker + limit) : ''
    return [
      200,
      {
        keys: page.map(({ key_id }) => key_id),
        key_details: page,
        next_marker,
        truncated: String(truncated),
        total: all.length,
      },
    ]
  }

  #withKey(action: string, key_id: string, key: Key, given: Readonly<Record<string, string>>): Answer {
    const changed = (state: Key['state'], days = 0): Answer => {
      key.state = state
      key.deletion = days === 0 ? 0 : Date.now() + days * 86_400_000
      return [200, { key_id, key_state: state }]
    }
    if (action === 'describe-key') return [200, { key_info: details(key_id, key) }]
    if (action === 'cancel-key-deletion') return changed('3')
    if (key.state === '4')
      return failed(400, 'KMS.0210', 'The key is in the Pending deletion status and cannot be used.')
    if (action === 'enable-key') return changed('2')
    if (action === 'disable-key') return changed('3')
    if (action === 'schedule-key-deletion') return changed('4', Number(given['pending_days']))
    if (key.state === '3') return failed(400, 'KMS.0209', 'The key has been disabled and cannot be used.')
    if (action === 'create-datakey') {
      const made = randomBytes(Number(given['datakey_length']) / 8)
      return [200, { key_id, plain_text: upper(made), cipher_text: seal(key, made) }]
    }
    if (action === 'encrypt-datakey') {
      const both = Buffer.from(given['plain_text'] ?? '', 'hex')
      const [made, digest] = [both.subarray(0, -32), both.subarray(-32)]
      if (String(made.length) !== given['datakey_plain_length'])
        return failed(400, 'KMS.2102', 'Invalid datakey_plain_length.')
      if (!hash(made).digest().equals(digest))
        return failed(400, 'KMS.2103', 'Hash verification of the data encryption key failed.')
      return [200, { key_id, cipher_text: seal(key, made), datakey_length: String(made.length) }]
    }
    const opened = open(key, Buffer.from(given['cipher_text'] ?? '', 'hex'))
    if (opened === undefined) return failed(400, 'KMS.2201', 'Invalid cipher_text.')
    if (String(opened.length) !== given['datakey_cipher_length'])
      return failed(400, 'KMS.2202', 'Invalid datakey_cipher_length.')
    return [
      200,
      { data_key: upper(opened), datakey_length: String(opened.length), datakey_dgst: upper(hash(opened).digest()) },
    ]
  }
}

const details = (key_id: string, { alias, created, state, deletion }: Key) => ({
  key_id,
  domain_id: 'd',
  key_alias: alias,
  key_spec: 'AES_256',
  creation_date: String(created),
  scheduled_deletion_date: deletion === 0 ? '' : String(deletion),
  key_state: state,
  default_key_flag: '0',
})

const seal = ({ secret }: Key, plain: Buffer): string => {
  const nonce = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', secret, nonce)
  return upper(Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]))
}

const open = ({ secret }: Key, sealed: Buffer): Buffer | undefined => {
  try {
    const decipher = createDecipheriv('aes-256-gcm', secret, sealed.subarray(0, 12))
    decipher.setAuthTag(sealed.subarray(-16))
    return Buffer.concat([decipher.update(sealed.subarray(12, -16)), decipher.final()])
  } catch {
    return undefined
  }
}

/** A key service that runs, a key manager over it that signs, and two keys. */
export const startHuawei = async () => {
  const dew = await new FakeDew().start()
  const { accessKey, secretKey, securityToken, project } = dew
  const open = (more: Partial<HuaweiOptions> = {}): KeyManager =>
    huaweiKms({ instance: 'dew1', address: dew.address, project, credentials: { accessKey, secretKey }, ...more })
  const kms = open()
  const made = async (name: string): Promise<string> => (await kms.create?.(name))?.keyId ?? ''
  const interpose =
    (answer: NonNullable<FakeDew['interposed']>): Fault =>
    async () => {
      dew.interposed = answer
      return async () => {
        dew.interposed = undefined
      }
    }
  const setup = {
    kms,
    keyId: await made('photos'),
    otherKeyId: await made('films'),
    missing: `dew1:${project}/${randomUUID()}`,
    spellings: ['photos'],
    deleted: async () => {
      const keyId = await made('lost')
      dew.keys.delete(keyId.split('/')[1] ?? '')
      return keyId
    },
    secrets: [secretKey, securityToken, dew.token],
    hang: interpose(() => new Promise(() => undefined)),
    unavailable: async () => {
      await dew.stop()
      return async () => {
        await dew.start()
      }
    },
    throttled: interpose(() => [429, { error_code: 'APIGW.0308', error_msg: 'throttled' }, { 'retry-after': '2' }]),
    stop: async () => {
      await kms.close?.()
      await dew.stop()
    },
  } satisfies ConformanceSetup
  return { ...setup, dew, open }
}
