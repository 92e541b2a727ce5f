/** The URL of an object, by the name that the client called the gateway. */
import type { Context } from './context.ts'

/** `http://HOST/BUCKET/KEY`, or `http://BUCKET.HOST/KEY` where the request came so; the key is encoded, slashes too, as S3 has it. */
export const locationOf = (ctx: Context, key: string): string => {
  const host = `${ctx.tls ? 'https' : 'http'}://${ctx.req.headers.host ?? 'localhost'}`
  const path = ctx.target.style === 'path' ? `/${ctx.bucketName()}` : ''
  return `${host}${path}/${encodeURIComponent(key)}`
}
