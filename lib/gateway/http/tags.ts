/**
 * Tags of buckets and objects: parsed from a header or an XML document, checked, and written back. A bucket's are stored in the header's form,
 * `name=value&…`, percent-encoded. Limits and messages are S3's.
 */
import { SseError } from '../../errors.ts'
import type { HeaderGetter } from '../../sse/names.ts'
import { field, fields, fromXml, textOf, type XmlContent } from './xml.ts'

/** A tag. */
export type Tag = readonly [name: string, value: string]

/** Most tags of an object. */
export const maxObjectTags = 10
/** Most tags of a bucket. */
export const maxBucketTags = 50

/** `InvalidTag`: what S3 says, what to do about it, and the name of the tag that is meant. */
const invalid = (s3Message: string, advice: string, TagKey?: string): SseError =>
  new SseError('InvalidTag', {
    message: `${s3Message}. ${advice}`,
    s3Message,
    ...(TagKey !== undefined && { details: { TagKey } }),
  })

/** Letters, digits, spaces and a few signs of every script. */
const allowed = /^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$/u

const check = (tags: readonly Tag[], most: number): readonly Tag[] => {
  if (tags.length > most) {
    const what = most === maxObjectTags ? 'Object tags' : 'Bucket tags'
    throw invalid(`${what} cannot be greater than ${most}`, `There are ${tags.length}: send fewer.`)
  }
  for (const [name, value] of tags) {
    if (name === '' || name.length > 128 || !allowed.test(name)) {
      const advice = 'Use 1 to 128 letters, digits, spaces and _ . : / = + - @.'
      throw invalid('The TagKey you have provided is invalid', advice, name)
    }
    if (value.length > 256 || !allowed.test(value)) {
      const advice = 'Use at most 256 letters, digits, spaces and _ . : / = + - @.'
      throw invalid('The TagValue you have provided is invalid', advice, name)
    }
    if (/^aws:/i.test(name)) {
      throw invalid('System tags cannot be added/updated by requester', 'Leave out tags of aws:.', name)
    }
  }
  const names = new Set<string>()
  for (const [name] of tags) {
    if (names.has(name)) throw invalid('Cannot provide multiple Tags with the same key', 'Send each name once.', name)
    names.add(name)
  }
  return tags
}

const decode = (text: string): string => decodeURIComponent(text.replaceAll('+', ' '))

const fromQuery = (text: string): readonly Tag[] =>
  text
    .split('&')
    .filter(pair => pair !== '')
    .map(pair => {
      const [name = '', ...value] = pair.split('=')
      return [decode(name), decode(value.join('='))]
    })

/** Tags in the form in which they are stored. */
export const encodeTags = (tags: readonly Tag[]): string =>
  tags.map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`).join('&')

/** Parses stored tags; `undefined` has none. */
export const storedTags = (text: string | undefined): readonly Tag[] => fromQuery(text ?? '')

/** The tags of `x-amz-tagging` or `x-obs-tagging`; `undefined` without the header. `InvalidArgument` where it is malformed, `InvalidTag`. */
export const requestedTags = (header: HeaderGetter): readonly Tag[] | undefined => {
  const name = ['x-amz-tagging', 'x-obs-tagging'].find(each => header(each) !== undefined) ?? ''
  const text = header(name)
  if (text === undefined) return undefined
  const malformed = (cause?: unknown): SseError => {
    const message = `The header '${name}' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.`
    return new SseError('InvalidArgument', { message, details: { ArgumentName: name, ArgumentValue: text }, cause })
  }
  let tags: readonly Tag[]
  try {
    tags = fromQuery(text)
  } catch (cause) {
    throw malformed(cause)
  }
  if (new Set(tags.map(([tag]) => tag)).size < tags.length) throw malformed()
  return check(tags, maxObjectTags)
}

/** Headers, with these tags instead of those that they have: what a policy sees of tags that a body or a copy brings. */
export const withTags =
  (header: HeaderGetter, tags: readonly Tag[] = []): HeaderGetter =>
  name => {
    if (name === 'x-obs-tagging') return undefined
    return name === 'x-amz-tagging' ? encodeTags(tags) : header(name)
  }

/** The tags of a `Tagging` document; one without a `TagSet` has none. `MalformedXML`, `InvalidTag`. */
export const parseTags = (xml: string, most: number): readonly Tag[] =>
  tagsIn(field(fromXml(xml, 'Tagging'), 'TagSet'), most)

/** The `Tag` elements of an element. `MalformedXML`, `InvalidTag`. */
export const tagsIn = (set: unknown, most: number): readonly Tag[] => {
  const tags = fields(set, 'Tag').map((tag): Tag => {
    const name = textOf(tag, 'Key')
    const value = textOf(tag, 'Value')
    if (name === undefined || value === undefined) throw new SseError('MalformedXML')
    return [name, value]
  })
  return check(tags, most)
}

/** Tags as the content of `Tagging`. */
export const tagsXml = (tags: readonly Tag[]): { readonly [name: string]: XmlContent } => ({
  TagSet: { Tag: tags.map(([Key, Value]) => ({ Key, Value })) },
})
