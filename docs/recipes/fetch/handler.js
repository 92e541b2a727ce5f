import { createSse, customerKey, errorAnswer, nobleEngine } from 'sse-kms-streams/web'

/** @typedef {{ envelope: Uint8Array, stored: Blob }} Stored */

/**
 * A handler of requests, as Deno, Bun and workers take it: `export default { fetch: createHandler(key) }`. Objects lie in memory here; put your store in
 * the place of the map.
 * @param {Uint8Array} key 32 bytes
 * @param {Map<string, Stored>} [objects]
 */
export const createHandler = (key, objects = new Map()) => {
  const sse = createSse({ kms: customerKey(nobleEngine, key), accept: [''] })

  return async (/** @type {Request} */ request) => {
    const { pathname } = new URL(request.url)
    const context = { 'aws:s3:arn': `arn:aws:s3:::bucket${pathname}` }
    try {
      if (request.method === 'PUT' && request.body) {
        const put = await sse.encrypt({ context })
        const stored = await new Response(request.body.pipeThrough(put.web())).blob() // rejects where the client breaks off
        objects.set(pathname, { envelope: put.result().envelope, stored })
        return new Response(null, { status: 201, headers: { etag: `"${put.result().etag}"` } })
      }
      const object = objects.get(pathname)
      if (!object) return new Response(null, { status: 404 })
      const get = await sse.decrypt(object.envelope, { context, held: object.stored.size }) // every check before a byte
      const body = object.stored.stream().pipeThrough(get.web()) // an error breaks the answer off
      return new Response(body, { headers: { 'content-length': String(get.length), etag: `"${get.etag}"` } })
    } catch (error) {
      const { status, headers, body } = errorAnswer(error)
      return new Response(body, { status, headers })
    }
  }
}
