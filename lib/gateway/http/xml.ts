/** Reads and writes XML with fast-xml-parser. Refuses DOCTYPE, CDATA and comments, knows the five entities and character references; bounded in size. */
import { XMLBuilder, XMLParser, XMLValidator } from 'fast-xml-parser'
import { SseError } from '../../errors.ts'

/** Content of an element: text, a list of elements of its name, or elements by name. `undefined` is left out. */
export type XmlContent =
  string | number | boolean | undefined | readonly XmlContent[] | { readonly [name: string]: XmlContent }

const builder = new XMLBuilder({ ignoreAttributes: false, attributeNamePrefix: '@', suppressBooleanAttributes: false })
const entities: ReadonlyMap<string, string> = new Map([
  ['amp', '&'],
  ['lt', '<'],
  ['gt', '>'],
  ['quot', '"'],
  ['apos', "'"],
])

const malformed = (): never => {
  throw new SseError('MalformedXML')
}

/** The parser's own decoding drops references to control characters, which keys may contain. */
const decodeEntity = (_all: string, name = ''): string => {
  const digits = /^#(?:x([0-9a-f]{1,6})|(\d{1,7}))$/i.exec(name)
  if (digits === null) return entities.get(name) ?? malformed()
  const code = digits[1] === undefined ? Number(digits[2]) : Number.parseInt(digits[1], 16)
  if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) malformed()
  return String.fromCodePoint(code)
}

/** Elements whose spaces are significant: object keys; keys and values of tags. */
const exact = new Set(['Key', 'Value'])

const parser = new XMLParser({
  ignoreAttributes: true,
  removeNSPrefix: true,
  parseTagValue: false,
  trimValues: false,
  processEntities: false,
  isArray: () => false,
  tagValueProcessor: (name, value) => {
    const text = exact.has(name) ? value : value.trim()
    return text.replace(/&(?:([#\w]{1,9});)?/g, decodeEntity)
  },
})

const maxXml = 2 * 1024 * 1024

/** Control characters that XML 1.0 cannot hold are sent as S3 sends them: as character references. */
const escapeControls = (xml: string): string =>
  // eslint-disable-next-line no-control-regex
  xml.replace(/[\u0000-\u0008\u000b-\u001f\ufffe\uffff]/g, c => `&#x${c.charCodeAt(0).toString(16)};`)

/** What every document begins with. */
export const xmlDeclaration = '<?xml version="1.0" encoding="UTF-8"?>\n'

/** A document of S3's namespace. */
export const toXml = (root: string, content: { readonly [name: string]: XmlContent }, namespace = true): string => {
  const attribute = namespace ? { '@xmlns': 'http://s3.amazonaws.com/doc/2006-03-01/' } : {}
  return xmlDeclaration + escapeControls(builder.build({ [root]: { ...attribute, ...content } }))
}

/** The parser also refuses names that JavaScript reserves, and more than 100 levels. */
const parse = (text: string): unknown => {
  try {
    return parser.parse(text)
  } catch (cause) {
    throw new SseError('MalformedXML', { cause })
  }
}

/** The content of the root element `root`; `MalformedXML` where the text is not well-formed, too large, has a DOCTYPE, another root or two. */
export const fromXml = (text: string, root: string): unknown => {
  if (text.length > maxXml || text.includes('<!') || XMLValidator.validate(text) !== true) malformed()
  const content = field(parse(text), root)
  return content === undefined || Array.isArray(content) ? malformed() : content
}

/** A child of parsed content, or `undefined`. */
export const field = (content: unknown, name: string): unknown => {
  if (typeof content !== 'object' || content === null || !Object.hasOwn(content, name)) return undefined
  return new Map<string, unknown>(Object.entries(content)).get(name)
}

/** The children of a name, as a list. */
export const fields = (content: unknown, name: string): readonly unknown[] => {
  const found = field(content, name)
  return found === undefined ? [] : Array.isArray(found) ? found : [found]
}

/** The text of a child, or `undefined`. */
export const textOf = (content: unknown, name: string): string | undefined => {
  const found = field(content, name)
  return typeof found === 'string' ? found : undefined
}
