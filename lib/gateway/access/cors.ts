/**
 * CORS of a bucket: which origins a browser lets read its answers. Rules are tried in their order; the first that fits counts. They say nothing
 * of who may do what: a request that a rule allows is still judged.
 */
import { SseError } from '../../errors.ts'
import type { Bucket } from '../../store/records.ts'
import { fields, textOf, type XmlContent } from '../http/xml.ts'

/** A rule. */
export interface CorsRule {
  readonly id?: string | undefined
  readonly origins: readonly string[]
  readonly methods: readonly string[]
  readonly headers: readonly string[]
  readonly expose: readonly string[]
  /** Seconds for which a browser may remember the answer to a preflight. */
  readonly maxAge?: number | undefined
}

/** What a browser asks. */
export interface CorsQuestion {
  readonly origin: string
  readonly method: string
  /** Names of the headers that it wants to send, in lower case. */
  readonly headers: readonly string[]
}

const maxRules = 100
const methods = new Set(['GET', 'PUT', 'POST', 'DELETE', 'HEAD'])
const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/

const invalid = (message: string): SseError => new SseError('InvalidRequest', { message })

const texts = (content: unknown, name: string): readonly string[] =>
  fields(content, name).map(value => {
    if (typeof value !== 'string' || value === '') throw new SseError('MalformedXML')
    return value
  })

const oneWildcard = (element: string, values: readonly string[]): readonly string[] => {
  const wrong = values.find(value => value.indexOf('*') !== value.lastIndexOf('*'))
  if (wrong !== undefined) throw invalid(`${element} "${wrong}" can not have more than one wildcard.`)
  return values
}

const parseRule = (content: unknown): CorsRule => {
  const id = textOf(content, 'ID')
  const age = textOf(content, 'MaxAgeSeconds')
  const rule = {
    origins: oneWildcard('AllowedOrigin', texts(content, 'AllowedOrigin')),
    methods: texts(content, 'AllowedMethod'),
    headers: oneWildcard('AllowedHeader', texts(content, 'AllowedHeader')),
    expose: texts(content, 'ExposeHeader'),
  }
  if (rule.origins.length === 0 || rule.methods.length === 0) throw new SseError('MalformedXML')
  if (id !== undefined && id.length > 255) throw new SseError('MalformedXML')
  if (age !== undefined && !/^\d{1,9}$/.test(age)) throw new SseError('MalformedXML')
  const method = rule.methods.find(each => !methods.has(each))
  if (method !== undefined) {
    throw invalid(`Found unsupported HTTP method in CORS config. Unsupported method is ${method}`)
  }
  const exposed = rule.expose.find(each => each.includes('*') || !token.test(each))
  if (exposed !== undefined) {
    throw invalid(`ExposeHeader "${exposed}" contains wildcard. We currently do not support wildcard for ExposeHeader.`)
  }
  return { ...rule, ...(id !== undefined && { id }), ...(age !== undefined && { maxAge: Number(age) }) }
}

/** The rules of a `CORSConfiguration`. `MalformedXML`, and `InvalidRequest` in S3's words. */
export const parseCors = (content: unknown): readonly CorsRule[] => {
  const rules = fields(content, 'CORSRule')
  if (rules.length === 0) throw new SseError('MalformedXML')
  if (rules.length > maxRules)
    throw invalid(`The number of CORS rules should not exceed allowed limit of ${maxRules} rules.`)
  return rules.map(parseRule)
}

/** The content of a `CORSConfiguration`. */
export const corsXml = (rules: readonly CorsRule[]): { readonly [name: string]: XmlContent } => ({
  CORSRule: rules.map(({ id, origins, methods, headers, expose, maxAge }) => ({
    ID: id,
    AllowedMethod: methods,
    AllowedOrigin: origins,
    AllowedHeader: headers,
    ExposeHeader: expose,
    MaxAgeSeconds: maxAge === undefined ? undefined : String(maxAge),
  })),
})

/** The rules that a bucket is configured with. `StoreFailed` where its text is none. */
export const corsOf = ({ settings }: Bucket): readonly CorsRule[] => {
  const text = settings['cors']
  if (text === undefined) return []
  try {
    return parseCors(JSON.parse(text))
  } catch (cause) {
    const message = 'The CORS configuration of the bucket cannot be read. Put it again, or delete it.'
    throw new SseError('StoreFailed', { message, cause })
  }
}

/** The text that a bucket keeps of its rules. */
export const corsSetting = (rules: readonly CorsRule[]): string => JSON.stringify(corsXml(rules))

const fits = (pattern: string, text: string): boolean => {
  const at = pattern.indexOf('*')
  if (at < 0) return pattern === text
  return (
    text.length >= pattern.length - 1 && text.startsWith(pattern.slice(0, at)) && text.endsWith(pattern.slice(at + 1))
  )
}

/** The headers that let a browser read an answer; `undefined` where no rule fits. */
export const allowCors = (
  rules: readonly CorsRule[],
  { origin, method, headers }: CorsQuestion,
): Readonly<Record<string, string>> | undefined => {
  for (const rule of rules) {
    const by = rule.origins.find(pattern => fits(pattern, origin))
    if (by === undefined || !rule.methods.includes(method)) continue
    if (!headers.every(name => rule.headers.some(pattern => fits(pattern.toLowerCase(), name)))) continue
    return {
      'access-control-allow-origin': by === '*' ? '*' : origin,
      'access-control-allow-methods': rule.methods.join(', '),
      ...(headers.length > 0 && { 'access-control-allow-headers': headers.join(', ') }),
      ...(rule.expose.length > 0 && { 'access-control-expose-headers': rule.expose.join(', ') }),
      ...(rule.maxAge !== undefined && { 'access-control-max-age': String(rule.maxAge) }),
      ...(by !== '*' && { 'access-control-allow-credentials': 'true' }),
    }
  }
  return undefined
}
