/** The keys that version 4 signatures are made with: derived once for an access key, a day and a region, kept in bounded memory. */
import { createHmac, createSecretKey, type KeyObject } from 'node:crypto'

interface Entry {
  readonly secretAccessKey: string
  readonly key: KeyObject
}

const maxEntries = 1000
/** The one that was not asked for longest comes first. */
const cache = new Map<string, Entry>()

const keep = (name: string, entry: Entry): KeyObject => {
  cache.delete(name)
  for (const oldest of cache.keys()) {
    if (cache.size < maxEntries) break
    cache.delete(oldest)
  }
  cache.set(name, entry)
  return entry.key
}

const hmac = (key: string | Uint8Array, text: string): Uint8Array => createHmac('sha256', key).update(text).digest()

/**
 * The signing key of a secret access key for a day (`20130524`) and a region. Asked again it comes from memory, unless the secret was changed
 * since. Call it for known access keys alone.
 */
export const signingKeyOf = (accessKeyId: string, secretAccessKey: string, date: string, region: string): KeyObject => {
  const name = `${accessKeyId}/${date}/${region}`
  const kept = cache.get(name)
  if (kept?.secretAccessKey === secretAccessKey) return keep(name, kept)
  const bytes = hmac(hmac(hmac(hmac(`AWS4${secretAccessKey}`, date), region), 's3'), 'aws4_request')
  const key = createSecretKey(bytes)
  bytes.fill(0)
  return keep(name, { secretAccessKey, key })
}

/** Signs text of one character a byte with a signing key: lower-case hex. */
export const signV4 = (key: KeyObject, text: string): string =>
  createHmac('sha256', key).update(text, 'latin1').digest('hex')
