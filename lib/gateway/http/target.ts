/**
 * From host and raw path to bucket and key. A key is bytes of UTF-8: NUL, `..`, `//` and an encoded slash are plain characters of it, and nothing
 * is normalized.
 */
import { utf8 } from '../../bytes.ts'
import { SseError } from '../../errors.ts'

/** What a request is about. */
export interface RequestTarget {
  /** `undefined` for the service itself. */
  readonly bucket: string | undefined
  /** Decoded; `undefined` for the bucket itself. */
  readonly key: string | undefined
  /** Whether the bucket stood in the path or in the host. */
  readonly style: 'path' | 'virtual'
}

/** An object by its names. */
export interface ObjectName {
  readonly bucket: string
  readonly key: string
}

/** Bytes of UTF-8 that a key may have. */
export const maxKeyLength = 1024

/** Throws `KeyTooLongError` for a key of more than 1,024 bytes of UTF-8. */
export const assertKeyLength = (size: number): void => {
  if (size <= maxKeyLength) return
  throw new SseError('KeyTooLongError', { details: { Size: String(size), MaxSizeAllowed: String(maxKeyLength) } })
}

/**
 * Whether a bucket may have this name: 3 to 63 lower-case letters, digits, dots and hyphens, each label beginning and ending with a letter or a
 * digit, and no IPv4 address.
 */
export const isBucketName = (name: string): boolean =>
  name.length >= 3 &&
  name.length <= 63 &&
  name.split('.').every(label => /^[a-z0-9-]+$/.test(label) && !label.startsWith('-') && !label.endsWith('-')) &&
  !/^\d+\.\d+\.\d+\.\d+$/.test(name)

/** Path and query of a request's URL, raw, without the question mark. */
export const splitUrl = (url: string): { readonly path: string; readonly query: string } => {
  const at = url.indexOf('?')
  return at < 0 ? { path: url, query: '' } : { path: url.slice(0, at), query: url.slice(at + 1) }
}

const decode = (raw: string): string => {
  // node:http passes nothing else; unencoded bytes would be ambiguous.
  if (!/^[\x21-\x7e]*$/.test(raw)) throw new SseError('InvalidURI')
  try {
    return decodeURIComponent(raw)
  } catch (cause) {
    throw new SseError('InvalidURI', { cause })
  }
}

const bucketOf = (name: string): string => {
  if (!isBucketName(name)) throw new SseError('InvalidBucketName', { details: { BucketName: name } })
  return name
}

const keyOf = (raw: string): string | undefined => {
  if (raw === '') return undefined
  const key = decode(raw)
  assertKeyLength(utf8(key).length)
  return key
}

/** A host without its port, in lower case. */
const hostName = (host: string): string => host.toLowerCase().replace(/:\d*$/, '').replace(/\.$/, '')

/** The bucket that stands before the longest base host, if any does. */
const bucketInHost = (host: string, baseHosts: readonly string[]): string | undefined => {
  const name = hostName(host)
  const bases = baseHosts.map(hostName).sort((a, b) => b.length - a.length)
  const base = bases.find(each => name === each || name.endsWith(`.${each}`))
  return base === undefined || name === base ? undefined : name.slice(0, -base.length - 1)
}

/**
 * The target of a request. A host that is a subdomain of one of `baseHosts` (their ports do not matter) names the bucket; under any other host it
 * is the first part of `path`, which is raw and without its query. Throws `InvalidURI`, `InvalidBucketName`, `KeyTooLongError`.
 */
export const parseTarget = (host: string | undefined, path: string, baseHosts: readonly string[]): RequestTarget => {
  if (!path.startsWith('/')) throw new SseError('InvalidURI')
  const virtual = bucketInHost(host ?? '', baseHosts)
  if (virtual !== undefined) return { bucket: bucketOf(virtual), key: keyOf(path.slice(1)), style: 'virtual' }
  if (path === '/') return { bucket: undefined, key: undefined, style: 'path' }
  const at = path.indexOf('/', 1)
  const [bucket, key] = at < 0 ? [path.slice(1), ''] : [path.slice(1, at), path.slice(at + 1)]
  return { bucket: bucketOf(decode(bucket)), key: keyOf(key), style: 'path' }
}
