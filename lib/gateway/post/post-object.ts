/**
 * PostObject: a browser's form upload. The fields act as the headers of a PUT; the signature and the policy among them are checked before any byte of
 * the file is read.
 */
import { SseError } from '../../errors.ts'
import { answerEmpty, type AnswerHeaders, setHeaders } from '../http/answer.ts'
import { openBody, receive } from '../body/body.ts'
import { asHeader, type RequestHeaders, withCarried } from '../http/headers.ts'
import { toHeaderText } from '../http/encoded-words.ts'
import type { BodyStage } from '../http/pour.ts'
import { encodeTags, maxObjectTags, parseTags } from '../http/tags.ts'
import { toXml } from '../http/xml.ts'
import { checksumHeaders } from '../objects/checksums.ts'
import { answerOf, encryptionHeaders } from '../objects/encryption.ts'
import { writeObject } from '../objects/write.ts'
import { planWrite } from '../plan/write.ts'
import { bucketNameOf, findBucket, type GatewayRequest, locationOf, openBucket } from '../request.ts'
import { expandFilename } from './form.ts'
import { type FormFields, readForm, type UploadForm } from './form.ts'
import { checkPostPolicy, type LengthRange, parsePostPolicy } from './policy.ts'
import { authenticateForm, requiredField } from './signature.ts'

/** Fields as the headers that they stand for; `acl` and `tagging` are headers by other names. `InvalidArgument` where a field and its other name differ. */
const headersOf = (fields: FormFields): RequestHeaders => {
  // A field may say more than a header can: metadata is read from encoded words then.
  const headerOf = (name: string, value: string): string =>
    /^x-(?:amz|obs)-meta-/.test(name) && /\p{Cc}/u.test(value) ? toHeaderText(asHeader(value)) : asHeader(value)
  const headers = new Map([...fields].map(([name, value]) => [name, headerOf(name, value)]))
  const { acl, tagging } = { acl: headers.get('acl'), tagging: fields.get('tagging') }
  const others = new Map<string, string>()
  if (acl !== undefined) others.set('x-amz-acl', acl)
  if (tagging !== undefined) others.set('x-amz-tagging', encodeTags(parseTags(tagging, maxObjectTags)))
  return withCarried(others, headers)
}

/** Checks the file's length against the policy while it passes. */
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

const answer = (
  request: GatewayRequest,
  fields: FormFields,
  key: string,
  etag: string,
  headers: AnswerHeaders,
): void => {
  const { res } = request
  const bucket = bucketNameOf(request)
  const next = redirection(fields, { bucket, key, etag })
  if (next !== undefined) return answerEmpty(res, 303, { ...headers, location: next })
  const location = locationOf(request, key)
  const status = fields.get('success_action_status')
  if (status !== '201') return answerEmpty(res, status === '200' ? 200 : 204, { ...headers, location })
  const content = { Location: location, Bucket: bucket, Key: key, ETag: etag }
  const body = Buffer.from(toXml('PostResponse', content, false))
  setHeaders(res, { ...headers, location, 'content-type': 'application/xml', 'content-length': body.length })
  res.writeHead(201).end(body)
}

const store = async (request: GatewayRequest, upload: UploadForm): Promise<void> => {
  const { services, verification } = request
  const { signer, policy } = authenticateForm(upload.fields, verification)
  // The fields of an unsigned form are not trusted: check that the bucket exists before expanding them. They are not headers yet.
  if (signer.kind === 'anonymous') await findBucket(request, () => undefined)
  const expanded = expandFilename(upload)
  const key = requiredField(expanded, 'key')
  const fields = new Map(expanded).set('bucket', bucketNameOf(request))
  const length = policy === undefined ? undefined : checkPostPolicy(parsePostPolicy(policy), fields, services.now())
  const form = request.withForm({ authentication: { ...signer, headers: headersOf(expanded) }, key })
  const bucket = await openBucket(form, 's3:PutObject')
  const plan = await planWrite(form, bucket, key)
  const body = openBody(signer.body, form.headers, plan.digests)
  const stages = length === undefined ? body.stages : [holdTo(length), ...body.stages]
  const incoming = { ...body, length: undefined, stages, start: () => upload.file }
  const { record, checksums } = await writeObject(services, plan, incoming)
  const etag = `"${record.etag}"`
  answer(form, fields, key, etag, {
    etag,
    ...checksumHeaders(checksums),
    ...encryptionHeaders(form.dialect, 'post', answerOf(plan.encryption)),
  })
}

/** Stores the file of a form. */
export const postObject = async (request: GatewayRequest): Promise<void> => {
  if (request.authentication.kind === 'signed') {
    const message = 'A form is signed by its own fields. Leave the signature of the request out.'
    throw new SseError('InvalidRequest', { message })
  }
  const form = await readForm(receive(request), request.header('content-type') ?? '', request.memory)
  try {
    await store(request, form)
  } finally {
    form.file.destroy()
  }
}
