/**
 * PostObject: the upload of a browser's form. Its fields stand for the headers of a PUT, sign themselves, and are held against the policy that was
 * signed; the file then takes the way of every other body. Nothing of the file is read before all of that is decided.
 */
import { validateHeaderName, validateHeaderValue } from 'node:http'
import { SseError } from '../../errors.ts'
import { answerEmpty, type AnswerHeaders, setHeaders } from '../http/answer.ts'
import { askForBody, openBody } from '../body/body.ts'
import { type GatewayRequest, locationOf } from '../context.ts'
import { asHeader, type RequestHeaders } from '../http/headers.ts'
import type { BodyStage } from '../http/pour.ts'
import { toXml } from '../http/xml.ts'
import { objectHeaders } from '../objects/record.ts'
import { encodeTags, maxObjectTags, parseTags } from '../objects/tags.ts'
import { writeObject } from '../objects/write.ts'
import { expandFilename } from './filename.ts'
import { type FormFields, readForm, type UploadForm } from './form.ts'
import { checkPostPolicy, type LengthRange, parsePostPolicy } from './policy.ts'
import { authenticateForm, requiredField } from './signature.ts'

/** Fields as the headers that they stand for; `acl` and `tagging` are headers by other names. `InvalidArgument` for what no header can say. */
const headersOf = (fields: FormFields): RequestHeaders => {
  const headers = new Map([...fields].map(([name, value]) => [name, asHeader(value)]))
  const acl = fields.get('acl')
  const tagging = fields.get('tagging')
  if (acl !== undefined) headers.set('x-amz-acl', acl)
  if (tagging !== undefined) headers.set('x-amz-tagging', encodeTags(parseTags(tagging, maxObjectTags)))
  for (const [name, value] of Object.entries(objectHeaders(headers))) {
    try {
      validateHeaderName(name)
      validateHeaderValue(name, value)
    } catch (cause) {
      const message = 'The field is kept as a header of the object, and has a character that a header cannot have.'
      throw new SseError('InvalidArgument', { message, details: { ArgumentName: name }, cause })
    }
  }
  return headers
}

/** Holds the file to the policy's length, while it passes. */
const holdTo = ({ min, max }: LengthRange): BodyStage =>
  async function* (source) {
    let size = 0
    const proposed = () => ({ ProposedSize: String(size) })
    for await (const chunk of source) {
      size += chunk.length
      if (size > max) {
        const message = 'Your proposed upload exceeds the maximum allowed size'
        throw new SseError('EntityTooLarge', { message, details: { ...proposed(), MaxSizeAllowed: String(max) } })
      }
      yield chunk
    }
    if (size >= min) return
    const message = 'Your proposed upload is smaller than the minimum allowed size'
    throw new SseError('EntityTooSmall', { message, details: { ...proposed(), MinSizeAllowed: String(min) } })
  }

/** Where a browser goes next, with what was stored; `undefined` where the field is no URL of the web. */
const redirection = (fields: FormFields, stored: Readonly<Record<string, string>>): string | undefined => {
  const wanted = fields.get('success_action_redirect') ?? fields.get('redirect') ?? ''
  if (!URL.canParse(wanted)) return undefined
  const url = new URL(wanted)
  if (url.protocol !== 'http:' && url.protocol !== 'https:') return undefined
  url.search = `${url.search === '' ? '?' : `${url.search}&`}${new URLSearchParams(stored).toString()}`
  return url.href
}

const answer = (ctx: GatewayRequest, fields: FormFields, key: string, etag: string, headers: AnswerHeaders): void => {
  const { res } = ctx
  const bucket = ctx.bucketName()
  const next = redirection(fields, { bucket, key, etag })
  if (next !== undefined) return answerEmpty(res, 303, { ...headers, location: next })
  const location = locationOf(ctx, key)
  const status = fields.get('success_action_status')
  if (status !== '201') return answerEmpty(res, status === '200' ? 200 : 204, { ...headers, location })
  const content = { Location: location, Bucket: bucket, Key: key, ETag: etag }
  const body = Buffer.from(toXml('PostResponse', content, false))
  setHeaders(res, { ...headers, location, 'content-type': 'application/xml', 'content-length': body.length })
  res.writeHead(201).end(body)
}

const store = async (ctx: GatewayRequest, upload: UploadForm): Promise<void> => {
  const { signer, policy } = authenticateForm(upload.fields, ctx.verification)
  // Nobody vouches for the fields, so nothing is made of them before it is known that there is a bucket. They are no headers yet.
  if (signer.kind === 'anonymous') await ctx.findBucket({ header: () => undefined })
  const expanded = expandFilename(upload)
  const key = requiredField(expanded, 'key')
  const fields = new Map(expanded).set('bucket', ctx.bucketName())
  const length = policy === undefined ? undefined : checkPostPolicy(parsePostPolicy(policy), fields, ctx.now())
  const form = ctx.withForm({ authentication: { ...signer, headers: headersOf(expanded) }, key })
  const owned = await form.openBucket('s3:PutObject')
  const { record, headers } = await writeObject(form, {
    operation: 'post',
    owned,
    key,
    body: digests => {
      const body = openBody(signer.body, form.headers, digests)
      const stages = length === undefined ? body.stages : [holdTo(length), ...body.stages]
      return { ...body, length: undefined, stages, start: () => upload.file }
    },
  })
  answer(form, fields, key, `"${record.etag}"`, headers)
}

/** Stores the file of a form. */
export const postObject = async (ctx: GatewayRequest): Promise<void> => {
  if (ctx.authentication.kind === 'signed') {
    const message = 'A form is signed by its own fields. Leave the signature of the request out.'
    throw new SseError('InvalidRequest', { message })
  }
  const form = await readForm(askForBody(ctx), ctx.header('content-type') ?? '')
  try {
    await store(ctx, form)
  } finally {
    form.file.destroy()
  }
}
