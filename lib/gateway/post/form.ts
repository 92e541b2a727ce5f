/**
 * The form of a browser upload (POST Object). Fields before the file are kept in memory, bounded; the file is a stream; fields after it are read
 * and ignored. Replaces `${filename}`; what the fields mean is decided elsewhere.
 */
import { Readable } from 'node:stream'
import { SseError } from '../../errors.ts'
import type { BodyReader } from '../body/receive.ts'
import type { HeldMemory } from '../http/memory.ts'
import { assertKeyLength } from '../http/target.ts'
import { boundaryOf, formText, MultipartReader } from './multipart.ts'

/** Fields by name in lower case; several of one name are joined by a comma, as S3 documents it. */
export type FormFields = ReadonlyMap<string, string>

/** A form whose file is about to be read. */
export interface UploadForm {
  /** The fields in front of the file, as they were sent. */
  readonly fields: FormFields
  /** The file's name as it was sent, with whatever path it has; `undefined` where it has none. */
  readonly filename: string | undefined
  /** The file's bytes. Ends if the whole form is well-formed, and fails otherwise. Destroy it unless it is read to its end. */
  readonly file: Readable
}

/** Bytes that the names and values of the fields in front of the file may have together; in S3 these are 20 KB. */
export const maxFields: number = 64 * 1024
/** How many fields there may be. */
export const maxFieldCount = 1000

/** So that a field that arrives byte by byte is not kept as thousands of pieces. */
const mostPieces = 256

/** A form has exactly one part of the name `file`; clients give that one a filename, or every part, or none. */
const isFile = (name: string): boolean => name.toLowerCase() === 'file'

const notOneFile = (found: number): SseError =>
  new SseError('InvalidArgument', {
    message: 'POST requires exactly one file upload per request.',
    details: { ArgumentName: 'file', ArgumentValue: String(found) },
  })

const openReader = (source: BodyReader, contentType: string): MultipartReader => {
  const boundary = boundaryOf(contentType)
  if (boundary !== undefined) return new MultipartReader(source, boundary)
  throw new SseError('PreconditionFailed', {
    message: 'At least one of the pre-conditions you specified did not hold',
    details: { Condition: 'Bucket POST must be of the enclosure-type multipart/form-data' },
  })
}

/** The file, then the rest of the form and what follows it. */
async function* fileOf(reader: MultipartReader, source: BodyReader): AsyncGenerator<Uint8Array, void, undefined> {
  yield* reader.body()
  for (let part = await reader.next(); part !== undefined; part = await reader.next()) {
    if (isFile(part.name)) throw notOneFile(2)
  }
  while ((await source.next()) !== undefined) continue
}

const toReadable = (chunks: AsyncGenerator<Uint8Array, void, undefined>, release: () => void): Readable => {
  const stream: Readable = new Readable({
    read: () => {
      chunks.next().then(
        ({ value }) => stream.push(value ?? null),
        (error: Error) => stream.destroy(error),
      )
    },
    destroy: (error, done) => {
      release()
      done(error)
    },
  })
  return stream
}

/**
 * Reads a form up to its file. Rejects with `PreconditionFailed` (another kind of body), `MalformedPOSTRequest`, `IncompleteBody`,
 * `MaxPostPreDataLengthExceeded`, `InvalidArgument` (no file, or two), `SlowDown`, and with what the source fails. Lets go of the source with
 * the file, and where it rejects.
 */
export const readForm = async (
  source: BodyReader,
  contentType: string,
  memory: Pick<HeldMemory, 'hold'>,
): Promise<UploadForm> => {
  try {
    const reader = openReader(source, contentType)
    const fields = new Map<string, string>()
    let size = 0
    for (let count = 0; ; count++) {
      const part = await reader.next()
      if (part === undefined) throw notOneFile(0)
      if (isFile(part.name)) {
        const file = toReadable(fileOf(reader, source.stream()), () => source.release())
        return { fields, filename: part.filename, file }
      }
      const name = part.name.toLowerCase()
      const pieces: Uint8Array[] = []
      size += name.length
      for await (const piece of reader.body()) {
        size += piece.length
        if (size > maxFields) break
        memory.hold(piece.length)
        pieces.push(piece)
        if (pieces.length === mostPieces) pieces.splice(0, mostPieces, Buffer.concat(pieces))
      }
      if (size > maxFields || count >= maxFieldCount) throw new SseError('MaxPostPreDataLengthExceeded')
      const value = formText(Buffer.concat(pieces))
      const before = fields.get(name)
      fields.set(name, before === undefined ? value : `${before},${value}`)
    }
  } catch (error) {
    source.release()
    throw error
  }
}

/** Fields that carry the policy and its signature, in the forms of Signature Version 4 and 2 and of OBS: they need no condition. */
export const signatureFields: ReadonlySet<string> = new Set([
  'policy',
  'x-amz-signature',
  'signature',
  'awsaccesskeyid',
  'accesskeyid',
  'token',
])

const placeholder = '${filename}'

/** Some browsers sent the whole path: use the last name of it. */
const baseName = (path: string): string => path.slice(Math.max(path.lastIndexOf('/'), path.lastIndexOf('\\')) + 1)

/**
 * The fields, with the file's name in place of `${filename}`; without a name it stays, as in S3. Those that carry the policy and its signature stay
 * as they are. `KeyTooLongError` where the key would be too long, `MaxPostPreDataLengthExceeded` where all fields would be longer than a form may
 * send them.
 */
export const expandFilename = ({ fields, filename }: Pick<UploadForm, 'fields' | 'filename'>): FormFields => {
  const name = filename === undefined ? placeholder : baseName(filename)
  const growth = Buffer.byteLength(name) - placeholder.length
  const expanded = new Map<string, readonly string[]>()
  let total = 0
  for (const [field, value] of fields) {
    const pieces = signatureFields.has(field) ? [value] : value.split(placeholder)
    const size = Buffer.byteLength(value) + (pieces.length - 1) * growth
    if (field === 'key') assertKeyLength(size)
    total += field.length + size
    expanded.set(field, pieces)
  }
  if (total > maxFields) throw new SseError('MaxPostPreDataLengthExceeded')
  return new Map([...expanded].map(([field, pieces]) => [field, pieces.join(name)]))
}
