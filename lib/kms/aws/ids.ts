/** How keys of AWS KMS are named. Records hold the ARN as AWS answers it, and never an alias. */
import { SseError } from '../../errors.ts'

const arn = /^arn:aws[a-z-]*:kms:([a-z0-9-]+):\d{12}:key\/((?:mrk-)?[0-9a-f-]+)$/
const short = /^(?:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|mrk-[0-9a-f]{32})$/
const alias = /^(?:arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:)?alias\/[a-zA-Z0-9/_-]{1,250}$/

/**
 * The ARN to ask a client of this region with, for the full id of a key. A multi-region key of another region is its replica here, which has
 * the same key material. `KeyNotFound` for any other spelling, and for a key of another region.
 */
export const arnHere = (keyId: string, region: string): string => {
  const [, itsRegion, id] = arn.exec(keyId) ?? []
  if (itsRegion === region) return keyId
  if (itsRegion === undefined || id === undefined || !id.startsWith('mrk-')) throw new SseError('KeyNotFound')
  return keyId.replace(`:kms:${itsRegion}:`, `:kms:${region}:`)
}

/** Whether it is a full id in its one spelling. */
export const isArn = (key: string): boolean => arn.test(key)

/** Throws `KeyNotFound` unless this is how a key is named without its ARN: a key id, an alias or the ARN of one. */
export const checkReference = (key: string): void => {
  if (!short.test(key) && !alias.test(key)) throw new SseError('KeyNotFound')
}

const prefix = 'alias/obs/'

/** The alias of a key that was made with this name. */
export const aliasOf = (name: string): string => {
  if (/^[A-Za-z0-9_-]{1,64}$/.test(name)) return prefix + name
  throw new RangeError('the name of a key is 1 to 64 of [A-Za-z0-9_-]')
}

/** The name that an alias stands for, if it does. */
export const nameOf = (aliasName: string | undefined): string | undefined =>
  aliasName?.startsWith(prefix) === true ? aliasName.slice(prefix.length) : undefined
