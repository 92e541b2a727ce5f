/** Parameters that all listings share. */
import { fromBase64url, fromUtf8 } from '../bytes.ts'
import { SseError } from '../errors.ts'
import type { GatewayRequest } from './context.ts'

const most = 1000

/** A parameter's text, empty where it is not given. */
export const parameterOf = (ctx: GatewayRequest, name: string): string => ctx.query.get(name) ?? ''

/** A limit such as `max-keys`: 1,000 by default and at most. `InvalidArgument` where it is no number. */
export const limitOf = (ctx: GatewayRequest, name: string): number => {
  const text = ctx.query.get(name)
  return text === undefined || text === '' ? most : Math.min(integer(name, text), most)
}

/** A marker that is a number; 0 where it is not given. */
export const markerOf = (ctx: GatewayRequest, name: string): number => {
  const text = parameterOf(ctx, name)
  return text === '' ? 0 : integer(name, text)
}

/** A number of a parameter or header; `InvalidArgument` where it is none. */
export const integer = (name: string, text: string): number => {
  if (/^\d{1,10}$/.test(text)) return Number(text)
  throw new SseError('InvalidArgument', {
    message: `Argument ${name} must be an integer from 0 to 2147483647.`,
    details: { ArgumentName: name, ArgumentValue: text },
  })
}

/** How keys are written: as they are, or percent-encoded where the client asked for it. */
export const encoderOf = (ctx: GatewayRequest): ((text: string) => string) => {
  const type = ctx.query.get('encoding-type')
  if (type === undefined) return text => text
  if (type !== 'url') {
    throw new SseError('InvalidArgument', {
      message: 'Invalid Encoding Method specified in Request. Use url.',
      details: { ArgumentName: 'encoding-type', ArgumentValue: type },
    })
  }
  return text => encodeURIComponent(text).replaceAll('%2F', '/').replaceAll('%20', '+')
}

/** Where a page begins, as the last one told it in base64url; `undefined` for the first. `InvalidArgument` where it is no token. */
export const continuationToken = (ctx: GatewayRequest): string | undefined => {
  const token = ctx.query.get('continuation-token')
  if (token === undefined) return undefined
  const bytes = fromBase64url(token)
  try {
    if (bytes !== undefined && bytes.length > 0) return fromUtf8(bytes)
  } catch {
    // answered below
  }
  throw new SseError('InvalidArgument', {
    message: 'The continuation token provided is incorrect. Use the one that the last page answered.',
    details: { ArgumentName: 'continuation-token' },
  })
}
