/**
 * A stand-in for Vault and OpenBao, of which no server can be had here: the requests, answers and words of their documentation and sources, with
 * real cryptography (AES-256-GCM under keys that HKDF derives from the context). The real client `node-vault` works with it too.
 */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import { json } from 'node:stream/consumers'
import type { KeyManager } from '../../lib/kms/manager.ts'
import type { ConformanceSetup, Fault } from '../../lib/kms/testing/setup.ts'
import { vaultKms, type VaultOptions } from '../../lib/kms/vault/vault.ts'

interface TransitKey {
  readonly derived: boolean
  readonly type: string
  readonly versions: { readonly key: Buffer; readonly time: number }[]
  minDecryption: number
  deletable: boolean
}

interface Token {
  /** Capabilities by path below `/v1/`. */
  readonly allows: Policy
  readonly renewable: boolean
  expires: number
  /** Renewals never lead past it. */
  readonly most: number
}

/** Whether a policy allows a capability (`create`, `read`, `update`, `delete`, `list`) on a path below `/v1/`. */
export type Policy = (capability: string, path: string) => boolean

/** The policy that the guide recommends: no key is made by an encryption. */
export const recommended: Policy = (capability, path) => {
  if (/^auth\/token\/(lookup|renew)-self$/.test(path)) return true
  if (/^[\w/]+\/(datakey\/plaintext|encrypt|decrypt|rewrap)\/[\w.-]+$/.test(path)) return capability === 'update'
  return /^[\w/]+\/keys(\/|$)/.test(path)
}

/** How tokens of a login live, in seconds. */
export interface Leases {
  readonly lease: number
  readonly most: number
  readonly renewable: boolean
}

type Answer = readonly [status: number, body?: unknown, headers?: Readonly<Record<string, string>>]
type Fields = Readonly<Record<string, unknown>>
type Said = (what: string) => Answer

const errors = (status: number, ...words: readonly string[]): Answer => [status, { errors: words }]
const bad: Said = words => errors(400, words)
const missing = bad('encryption key not found')
const denied = errors(403, '1 error occurred:\n\t* permission denied\n\n')

/** A Vault. Its fields may be changed while it runs. */
export class FakeVault {
  readonly root = `hvs.${randomBytes(18).toString('base64url')}`
  readonly roleId = randomUUID()
  readonly secretId = randomUUID()
  readonly jwt = `eyJ.${randomBytes(30).toString('base64url')}.sig`
  readonly keys = new Map<string, TransitKey>()
  /** Requests so far, as `METHOD path`, with their bodies. */
  readonly requests: { readonly line: string; readonly headers: IncomingMessage['headers']; readonly body: Fields }[] =
    []
  readonly tokens = new Map<string, Token>()
  mount = 'transit'
  namespace: string | undefined
  policy: Policy = recommended
  leases: Leases = { lease: 3600, most: 14_400, renewable: true }
  /** Answers in place of Vault where it returns something; a promise is awaited. */
  interposed: ((line: string) => Answer | undefined | Promise<Answer | undefined>) | undefined
  #server: Server | undefined
  #port = 0
  readonly #tls: { readonly cert: string; readonly key: string; readonly ca?: string } | undefined

  constructor(tls?: { readonly cert: string; readonly key: string; readonly ca?: string }) {
    this.#tls = tls
    this.tokens.set(this.root, { allows: () => true, renewable: false, expires: Infinity, most: Infinity })
  }

  get address(): string {
    return `${this.#tls === undefined ? 'http' : 'https'}://127.0.0.1:${this.#port}`
  }

  /** Starts, or starts again at the same address. */
  async start(): Promise<this> {
    const listener: RequestListener = (req, res) => {
      void this.#answer(req).then(([status, body, headers = {}]) => {
        res.writeHead(status, { 'content-type': 'application/json', ...headers })
        res.end(body === undefined ? '' : typeof body === 'string' ? body : JSON.stringify(body))
      })
    }
    const tls = this.#tls
    this.#server =
      tls === undefined
        ? createServer(listener)
        : createSecureServer({ ...tls, requestCert: tls.ca !== undefined, rejectUnauthorized: true }, listener)
    this.#server.listen(this.#port, '127.0.0.1')
    await once(this.#server, 'listening')
    const address = this.#server.address()
    if (typeof address === 'object' && address !== null) this.#port = address.port
    return this
  }

  /** Stops as a process that is killed does: connections break. */
  async stop(): Promise<void> {
    const server = this.#server
    if (server === undefined) return
    this.#server = undefined
    const closed = once(server, 'close')
    server.close()
    server.closeAllConnections()
    await closed
  }

  /** How often a request was made whose line contains this. */
  count(part: string): number {
    return this.requests.filter(({ line }) => line.includes(part)).length
  }

  /** Makes a token. */
  grant(leases: Leases = this.leases, allows: Policy = (...asked) => this.policy(...asked)): string {
    const token = `hvs.${randomBytes(18).toString('base64url')}`
    const now = Date.now()
    const expires = leases.lease === 0 ? Infinity : now + leases.lease * 1000
    this.tokens.set(token, { allows, renewable: leases.renewable, expires, most: now + leases.most * 1000 })
    return token
  }

  #auth(token: string): Answer {
    const { expires = 0, renewable = false } = this.tokens.get(token) ?? {}
    const lease_duration = expires === Infinity ? 0 : Math.max(0, Math.round((expires - Date.now()) / 1000))
    const auth = {
      client_token: token,
      accessor: 'a',
      policies: ['default'],
      metadata: null,
      lease_duration,
      renewable,
    }
    return [200, { request_id: randomUUID(), data: null, auth, warnings: null }]
  }

  async #answer(req: IncomingMessage): Promise<Answer> {
    const target = new URL(req.url ?? '/', 'http://vault')
    const path = decodeURIComponent(target.pathname).replace(/^\/v1\//, '')
    const line = `${req.method} ${path}`
    const given: unknown =
      req.headers['content-length'] === '0' || req.method === 'GET' ? {} : await json(req).catch(() => ({}))
    const body: Fields = Object.assign({}, given)
    this.requests.push({ line, headers: req.headers, body })
    const other = await this.interposed?.(line)
    if (other !== undefined) return other
    if (req.headers['x-vault-namespace'] !== this.namespace) return denied
    if (line === 'POST auth/approle/login') {
      const right = body['role_id'] === this.roleId && body['secret_id'] === this.secretId
      return right ? this.#auth(this.grant()) : bad('invalid role or secret ID')
    }
    if (line === 'POST auth/kubernetes/login') {
      return body['role'] === 'gateway' && body['jwt'] === this.jwt ? this.#auth(this.grant()) : denied
    }
    const id = String(req.headers['x-vault-token'])
    const token = this.tokens.get(id)
    if (token === undefined || token.expires <= Date.now()) return denied
    const listing = target.searchParams.get('list') === 'true'
    const name = path.split('/').at(-1) ?? ''
    const upsert = path.startsWith(`${this.mount}/encrypt/`) && !this.keys.has(name)
    const writing = upsert || (/\/keys\/[\w.-]+$/.test(path) && !this.keys.has(name)) ? 'create' : 'update'
    const capability = { GET: listing ? 'list' : 'read', DELETE: 'delete' }[req.method ?? ''] ?? writing
    if (!token.allows(capability, path)) return denied
    if (line === 'GET auth/token/lookup-self') {
      const ttl = token.expires === Infinity ? 0 : Math.round((token.expires - Date.now()) / 1000)
      return [200, { data: { id, ttl, renewable: token.renewable } }]
    }
    if (line === 'POST auth/token/renew-self') {
      if (!token.renewable) return bad('lease is not renewable')
      token.expires = Math.min(Date.now() + this.leases.lease * 1000, token.most)
      return this.#auth(id)
    }
    return this.#transit(line, name, body, listing)
  }

  #transit(line: string, last: string, body: Fields, listing: boolean): Answer {
    const [method = '', path = ''] = line.split(' ')
    const unrouted = errors(404, `no handler for route "${path}". route entry not found.`)
    if (!path.startsWith(`${this.mount}/`)) return unrouted
    const rest = path.slice(this.mount.length + 1)
    const [, name = last] = /^keys\/([\w.-]+)\/(?:rotate|config)$/.exec(rest) ?? []
    const key = this.keys.get(name)
    const operation = rest
      .split('/')
      .with(/\/(?:rotate|config)$/.test(rest) ? -2 : -1, 'NAME')
      .join('/')
    if (rest === 'keys' && listing)
      return this.keys.size > 0 ? [200, { data: { keys: [...this.keys.keys()].sort() } }] : errors(404)
    if (operation === 'keys/NAME' && method === 'GET') return key === undefined ? errors(404) : described(name, key)
    if (operation === 'keys/NAME' && method === 'POST') {
      if (key !== undefined) return described(name, key)
      return described(name, this.#make(name, body['derived'] === true, String(body['type'] ?? 'aes256-gcm96')))
    }
    if (operation === 'keys/NAME' && method === 'DELETE') {
      if (key === undefined) return bad(`error deleting policy ${name}: could not delete key; not found`)
      if (!key.deletable) return bad(`error deleting policy ${name}: deletion is not allowed for this key`)
      this.keys.delete(name)
      return [204]
    }
    if (method !== 'POST') return errors(405, 'unsupported operation')
    if (operation === 'keys/NAME/rotate') {
      if (key === undefined) return bad('key not found')
      key.versions.push(newVersion())
      return described(name, key)
    }
    if (operation === 'keys/NAME/config') {
      if (key === undefined) return bad(`no existing key named ${name} could be found`)
      key.deletable = body['deletion_allowed'] === true
      key.minDecryption = Number(body['min_decryption_version'] ?? key.minDecryption)
      return described(name, key)
    }
    const { context = '', plaintext, ciphertext } = body
    if (operation === 'encrypt/NAME') {
      const used = key ?? this.#make(name, context !== '', 'aes256-gcm96') // a missing key is made: the policy allowed `create`
      return encrypted(used, String(plaintext), String(context))
    }
    if (key === undefined) return /^(datakey\/plaintext|decrypt|rewrap)\/NAME$/.test(operation) ? missing : unrouted
    if (operation === 'datakey/plaintext/NAME') {
      const made = randomBytes(Number(body['bits'] ?? 256) / 8).toString('base64')
      return encrypted(key, made, String(context), { plaintext: made })
    }
    const opened = decrypted(key, String(ciphertext), String(context))
    if (typeof opened !== 'string') return opened
    if (operation === 'decrypt/NAME') return [200, { data: { plaintext: opened } }]
    return operation === 'rewrap/NAME' ? encrypted(key, opened, String(context)) : unrouted
  }

  #make(name: string, derived: boolean, type: string): TransitKey {
    const key: TransitKey = { derived, type, versions: [newVersion()], minDecryption: 1, deletable: false }
    this.keys.set(name, key)
    return key
  }
}

const newVersion = () => ({ key: randomBytes(32), time: Math.floor(Date.now() / 1000) })

const described = (name: string, { derived, type, versions, minDecryption, deletable }: TransitKey): Answer => [
  200,
  {
    data: {
      name,
      type,
      derived,
      deletion_allowed: deletable,
      min_decryption_version: minDecryption,
      min_encryption_version: 0,
      latest_version: versions.length,
      supports_encryption: type.startsWith('aes'),
      keys: Object.fromEntries(versions.map(({ time }, i) => [i + 1, time]).slice(minDecryption - 1)),
    },
  },
]

const noContext = bad(
  "missing 'context' for key derivation; the key was created using a derived key, which means additional, per-request information must be included in order to perform operations with the key",
)

const cipherKey = (key: TransitKey, version: number, context: string): Buffer => {
  const { key: secret } = key.versions[version - 1] ?? newVersion()
  if (!key.derived) return secret // a context is ignored
  return Buffer.from(hkdfSync('sha256', secret, '', Buffer.from(context, 'base64'), 32))
}

const encrypted = (key: TransitKey, plaintext: string, context: string, more: Fields = {}): Answer => {
  if (key.derived && context === '') return noContext
  const version = key.versions.length
  const nonce = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', cipherKey(key, version, context), nonce)
  const sealed = Buffer.concat([nonce, cipher.update(plaintext, 'base64'), cipher.final(), cipher.getAuthTag()])
  return [
    200,
    { data: { ciphertext: `vault:v${version}:${sealed.toString('base64')}`, key_version: version, ...more } },
  ]
}

const decrypted = (key: TransitKey, ciphertext: string, context: string): string | Answer => {
  if (!ciphertext.startsWith('vault:v')) return bad('invalid ciphertext: no prefix')
  const [number = '', encoded] = ciphertext.slice(7).split(/:(.*)/s)
  if (encoded === undefined) return bad('invalid ciphertext: wrong number of fields')
  if (!/^[+-]?\d+$/.test(number)) return bad('invalid ciphertext: version number could not be decoded')
  const version = Number(number) || 1 // version 0 is read as 1
  if (version > key.versions.length) return bad('invalid ciphertext: version is too new')
  if (version < key.minDecryption) return bad('ciphertext or signature version is disallowed by policy (too old)')
  if (key.derived && context === '') return noContext
  const sealed = Buffer.from(encoded, 'base64') // like Go's, lax about the bits after the end
  if (sealed.length < 28) return bad('invalid ciphertext length')
  try {
    const decipher = createDecipheriv('aes-256-gcm', cipherKey(key, version, context), sealed.subarray(0, 12))
    decipher.setAuthTag(sealed.subarray(-16))
    return Buffer.concat([decipher.update(sealed.subarray(12, -16)), decipher.final()]).toString('base64')
  } catch {
    return bad('cipher: message authentication failed')
  }
}

/** A Vault that runs, a key manager over it that logs in by an AppRole, and two keys. */
export const startVault = async (options: Partial<VaultOptions> = {}) => {
  const vault = await new FakeVault().start()
  const open = (more: Partial<VaultOptions> = {}): KeyManager =>
    vaultKms({
      instance: 'vault-main',
      address: vault.address,
      auth: { method: 'approle', roleId: vault.roleId, secretId: vault.secretId },
      ...options,
      ...more,
    })
  const kms = open()
  const [{ keyId }, { keyId: otherKeyId }] = [await made(kms, 'photos'), await made(kms, 'films')]
  const stop = async (): Promise<void> => {
    await kms.close?.()
    await vault.stop()
  }
  const interpose =
    (answer: NonNullable<FakeVault['interposed']>): Fault =>
    async () => {
      vault.interposed = answer
      return async () => {
        vault.interposed = undefined
      }
    }
  const setup: ConformanceSetup = {
    kms,
    keyId,
    otherKeyId,
    missing: 'vault-main:transit/none',
    spellings: ['photos', 'transit/photos', 'vault-main:transit//photos'],
    deleted: async () => {
      const key = await made(kms, 'lost')
      vault.keys.delete('lost')
      return key.keyId
    },
    secrets: [vault.root, vault.secretId, vault.jwt],
    hang: async () => {
      let release = (): void => undefined
      const hung = new Promise<undefined>(resolve => {
        release = () => resolve(undefined)
      })
      const end = await interpose(() => hung)()
      return async () => {
        await end()
        release()
      }
    },
    unavailable: async () => {
      await vault.stop()
      return async () => {
        await vault.start()
      }
    },
    throttled: interpose(() => [
      429,
      { errors: ['request path "transit": rate limit quota exceeded'] },
      { 'retry-after': '1' },
    ]),
    stop,
  }
  return { ...setup, kms, keyId, otherKeyId, vault, open, stop }
}

const made = async (kms: KeyManager, name: string) => {
  const key = await kms.create?.(name)
  if (key === undefined) throw new Error('the key manager makes no keys')
  return key
}
