/** A client in a process of its own, so that it shares no event loop with the server: it does what messages from its parent say. */
import { Sha256 } from '@aws-crypto/sha256-js'
import { SignatureV4 } from '@smithy/signature-v4'
import { createHash } from 'node:crypto'
import { Agent, type IncomingMessage, request } from 'node:http'
import { Readable } from 'node:stream'
import type { Work, WorkDone } from './client.ts'
import { atOnce } from './at-once.ts'
import { plaintext } from './streams.ts'

const agent = new Agent({ keepAlive: true, maxSockets: 64 })
const signatures = new Map<string, Promise<Record<string, string>>>()

/** Signed headers; the same request is signed once and sent again, so that signing is not what is measured. */
const sign = (work: Work, path: string, headers: Record<string, string>): Promise<Record<string, string>> => {
  const { method, port, user } = work
  const name = JSON.stringify([port, user.accessKeyId, method, path, headers])
  const [pathname = '/', query = ''] = path.split('?')
  const make = async () => {
    const signer = new SignatureV4({
      service: 's3',
      region: user.region,
      sha256: Sha256,
      uriEscapePath: false,
      credentials: user,
    })
    const signed = await signer.sign({
      method,
      protocol: 'http:',
      hostname: '127.0.0.1',
      port,
      path: pathname,
      query: Object.fromEntries(new URLSearchParams(query)),
      headers: { host: `127.0.0.1:${port}`, 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD', ...headers },
    })
    return signed.headers
  }
  const found = signatures.get(name) ?? make()
  signatures.set(name, found)
  return found
}

const send = async (work: Work, path: string, text?: string): Promise<IncomingMessage> => {
  const { method, port, size = text?.length, headers = {} } = work
  const length: Record<string, string> = size === undefined ? {} : { 'content-length': String(size) }
  const signed = await sign(work, path, { ...length, ...headers })
  const req = request({ host: '127.0.0.1', port, method, path, headers: signed, agent })
  return new Promise((resolve, reject) => {
    req.on('response', resolve).on('error', reject)
    if (size === undefined || text !== undefined) req.end(text)
    else Readable.from(plaintext(size), { objectMode: false }).pipe(req)
  })
}

/** Sends a request and takes its answer; rejects where it is an error. */
const answered = async (work: Work, path: string, text?: string) => {
  const answer = await send(work, path, text)
  const chunks: Buffer[] = await answer.toArray()
  const body = Buffer.concat(chunks).toString()
  if ((answer.statusCode ?? 500) >= 300) throw new Error(`${work.method} ${path}: ${answer.statusCode} ${body}`)
  return { body, etag: answer.headers.etag ?? '' }
}

/** A multipart upload of parts of `size` bytes each. */
const upload = async ({ size, headers, ...work }: Work, path: string, parts: number): Promise<void> => {
  const { body } = await answered({ ...work, headers, method: 'POST' }, `${path}?uploads=`)
  const id = encodeURIComponent(/<UploadId>(.*?)</.exec(body)?.[1] ?? '')
  const etags = new Map<number, string>()
  await atOnce(parts, parts, async i => {
    const query = `?partNumber=${i + 1}&uploadId=${id}`
    etags.set(i + 1, (await answered({ ...work, size, method: 'PUT' }, path + query)).etag)
  })
  const named = Array.from(
    { length: parts },
    (_, i) => `<Part><PartNumber>${i + 1}</PartNumber><ETag>${etags.get(i + 1) ?? ''}</ETag></Part>`,
  )
  const document = `<CompleteMultipartUpload>${named.join('')}</CompleteMultipartUpload>`
  await answered({ ...work, method: 'POST' }, `${path}?uploadId=${id}`, document)
}

const run = async (work: Work): Promise<WorkDone> => {
  const { parts } = work
  if (parts !== undefined) {
    await atOnce(work.count, work.atOnce, i => upload(work, work.path.replace('{i}', String(i)), parts))
    return { bytes: 0, digest: '', count: work.count }
  }
  let bytes = 0
  let digest = ''
  let next: string | undefined
  const one = async (path: string) => {
    const answer = await send(work, path)
    const hash = work.digest === true ? createHash('sha256') : undefined
    const pages: Buffer[] = []
    for await (const chunk of answer) {
      const piece: Buffer = chunk
      bytes += piece.length
      hash?.update(piece)
      if (work.pages === true || (answer.statusCode ?? 500) >= 300) pages.push(piece)
    }
    const text = Buffer.concat(pages).toString()
    if ((answer.statusCode ?? 500) >= 300) throw new Error(`${work.method} ${path}: ${answer.statusCode} ${text}`)
    digest = hash?.digest('hex') ?? ''
    return text
  }
  if (work.pages !== true) {
    await atOnce(work.count, work.atOnce, i => one(work.path.replace('{i}', String(i))))
    return { bytes, digest, count: work.count }
  }
  let count = 0
  do {
    const text = await one(work.path + (next === undefined ? '' : `&continuation-token=${encodeURIComponent(next)}`))
    count += text.match(/<Key>/g)?.length ?? 0
    next = /<NextContinuationToken>(.*?)</.exec(text)?.[1]
  } while (next !== undefined)
  return { bytes, digest, count }
}

process.on('message', (work: Work) => {
  run(work).then(
    done => process.send?.(done),
    (error: unknown) => process.send?.({ error: error instanceof Error ? error.message : String(error) }),
  )
})
