/**
 * The policy document of a browser upload: what its signer allows a form to contain. Parses it and checks the fields against it; the signature is
 * verified elsewhere. Messages are Amazon's, as recorded from the service. Source: "POST Policy" of the Amazon S3 API
 * reference; OBS has the same language.
 */
import { fromBase64, fromUtf8 } from '../../bytes.ts'
import { SseError } from '../../errors.ts'
import { type FormFields, signatureFields } from './form.ts'

/** Bytes that a file may have, both ends inclusive. */
export interface LengthRange {
  readonly min: number
  readonly max: number
}

/** A condition as it was written, for messages. */
interface Written {
  readonly written: readonly unknown[]
}

/** What a field must be. */
interface FieldCondition extends Written {
  readonly operation: 'eq' | 'starts-with'
  /** In lower case. */
  readonly field: string
  readonly value: string
}

/** How long the file may be. */
interface LengthCondition extends Written {
  readonly operation: 'content-length-range'
  readonly range: LengthRange
}

/** A condition of a policy. Nothing fulfils `never`: a field without `$`, a size that is no number. */
export type PostCondition = FieldCondition | LengthCondition | (Written & { readonly operation: 'never' })

/** A parsed policy. */
export interface PostPolicy {
  /** Milliseconds since 1970. */
  readonly expires: number
  readonly conditions: readonly PostCondition[]
}

/** Characters of base64 that a policy may have. */
export const maxPolicy: number = 20 * 1024

const invalid = (what: string, cause?: unknown): SseError =>
  new SseError('InvalidPolicyDocument', { message: `Invalid Policy: ${what}`, cause })

const denied = (what: string): SseError => {
  const message = `Invalid according to Policy: ${what}`
  return new SseError('AccessDenied', { message, s3Message: message })
}

const unfulfilled = ({ written }: Written): SseError =>
  denied(`Policy Condition failed: [${written.map(item => JSON.stringify(item)).join(', ')}]`)

/** esdk-obs-nodejs and examples of Amazon's leave a comma behind the last condition; it is dropped outside of strings. */
const withoutLastCommas = (json: string): string => {
  let inString = false
  // Nothing here is read twice, so the time is linear.
  return json.replace(/\\.|"|,(?=\s*[\]}])/gs, found => {
    if (found === '"') inString = !inString
    return found === ',' && !inString ? '' : found
  })
}

const parseJson = (json: string): unknown => {
  try {
    return JSON.parse(withoutLastCommas(json))
  } catch (cause) {
    throw invalid('Invalid JSON.', cause)
  }
}

const decode = (text: string): string => {
  const bytes = fromBase64(text.replace(/[\r\n]/g, ''))
  if (bytes === undefined) throw invalid('invalid Base64 encoding.')
  try {
    return fromUtf8(bytes)
  } catch (cause) {
    throw invalid('Invalid JSON.', cause)
  }
}

const parseExpiration = (value: unknown): number => {
  if (value === undefined) throw invalid('Policy missing expiration.')
  const time =
    typeof value === 'string' && /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z$/.test(value) ? Date.parse(value) : NaN
  if (Number.isNaN(time)) throw invalid(`Invalid 'expiration' value: '${String(value)}'`)
  return time
}

const parseSize = (value: unknown): number | undefined => {
  const size = typeof value === 'string' && /^\d+$/.test(value) ? Number(value) : value
  if (typeof size !== 'number') return undefined
  if (!Number.isSafeInteger(size) || size < 0) throw invalid('Invalid content-length-range: a size is not valid.')
  return size
}

const parseList = (written: readonly unknown[]): PostCondition => {
  const [name, first, second] = written
  if (name === undefined) throw invalid('Invalid Condition: missing operation identifier.')
  const operation = String(name).toLowerCase()
  if (operation !== 'eq' && operation !== 'starts-with' && operation !== 'content-length-range') {
    throw invalid(`Invalid Condition: unknown operation '${operation}'.`)
  }
  if (written.length !== 3) throw invalid(`Invalid ${operation}: wrong number of arguments.`)
  if (operation === 'content-length-range') {
    const [min, max] = [parseSize(first), parseSize(second)]
    return min === undefined || max === undefined
      ? { operation: 'never', written }
      : { operation, range: { min, max }, written }
  }
  if (typeof first !== 'string' || typeof second !== 'string') throw invalid('Invalid JSON.')
  if (!first.startsWith('$')) return { operation: 'never', written }
  return { operation, field: first.slice(1).toLowerCase(), value: second, written }
}

const parseCondition = (condition: unknown): PostCondition => {
  if (Array.isArray(condition)) return parseList(condition)
  if (typeof condition !== 'object' || condition === null) {
    throw invalid('Invalid condition: must be a List or Object.')
  }
  const [property, ...more] = Object.entries<unknown>({ ...condition })
  if (property === undefined || more.length > 0) {
    throw invalid('Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.')
  }
  const [name, value] = property
  if (typeof value !== 'string') throw invalid('Invalid Simple-Condition: value must be a string.')
  return { operation: 'eq', field: name.toLowerCase(), value, written: ['eq', `$${name}`, value] }
}

/** Reads a policy as its form field has it, in base64. `InvalidPolicyDocument`; `MaxPostPreDataLengthExceeded` for one that is too long. */
export const parsePostPolicy = (base64: string): PostPolicy => {
  if (base64.length > maxPolicy) {
    const message = `The policy of the form is too large. Use at most ${maxPolicy} characters.`
    throw new SseError('MaxPostPreDataLengthExceeded', { message })
  }
  const document = parseJson(decode(base64))
  if (typeof document !== 'object' || document === null) throw invalid('Invalid JSON.')
  const members = new Map(Object.entries<unknown>({ ...document }))
  for (const name of members.keys()) {
    if (name !== 'expiration' && name !== 'conditions') throw invalid(`Unexpected: '${name.toLowerCase()}'`)
  }
  const expires = parseExpiration(members.get('expiration'))
  const conditions: unknown = members.get('conditions')
  if (conditions === undefined) throw invalid('Policy missing conditions.')
  if (!Array.isArray(conditions)) throw invalid("Invalid 'conditions' value: must be a List.")
  return { expires, conditions: conditions.map(parseCondition) }
}

const fulfils = ({ operation, field, value }: FieldCondition, fields: FormFields): boolean => {
  const sent = fields.get(field)
  if (sent === undefined) return false
  if (operation === 'eq') return sent === value
  // "Content-Types values … that include commas are interpreted as lists. Each value in the list must meet the condition."
  const parts = field === 'content-type' ? sent.split(',').map(part => part.trimStart()) : [sent]
  return parts.every(part => part.startsWith(value))
}

/**
 * Holds a form against a policy: every condition must be fulfilled, and every field must have one. `fields` hold the bucket that the request
 * names under `bucket`. Answers how long the file may be. `AccessDenied`.
 */
export const checkPostPolicy = ({ expires, conditions }: PostPolicy, fields: FormFields, now: number): LengthRange => {
  if (now > expires) throw denied('Policy expired.')
  const covered = new Set<string>()
  let length: LengthRange = { min: 0, max: Infinity }
  for (const condition of conditions) {
    if (condition.operation === 'content-length-range') {
      const { min, max } = condition.range
      length = { min: Math.max(length.min, min), max: Math.min(length.max, max) }
    } else if (condition.operation === 'never' || !fulfils(condition, fields)) throw unfulfilled(condition)
    else covered.add(condition.field)
  }
  const extra = [...fields.keys()].filter(
    name => !covered.has(name) && !signatureFields.has(name) && !name.startsWith('x-ignore-'),
  )
  if (extra.length > 0) throw denied(`Extra input fields: ${extra.join(', ')}`)
  return length
}
