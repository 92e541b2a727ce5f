/**
 * The form of a browser upload (POST Object): fields come before the file and are held, bounded; the file is a stream; what follows it is read,
 * and ignored. What the fields mean is not asked here.
 */
import { Readable } from 'node:stream'
import { SseError } from '../../errors.ts'
import { boundaryOf, formText, MultipartReader } from './multipart.ts'

/** Fields by name in lower case; several of one name are joined by a comma, as S3 documents it. */
export type FormFields = ReadonlyMap<string, string>

/** A form whose file is about to be read. */
export interface UploadForm {
  /** The fields in front of the file, as they were sent. */
  readonly fields: FormFields
  /** The file's name as it was sent, with whatever path it has; `undefined` where it has none. */
  readonly filename: string | undefined
  /** The file's bytes. Ends once all of the form was read and well-formed; fails otherwise. Whoever does not read it to its end destroys it. */
  readonly file: Readable
}

/** Bytes that the names and values of the fields in front of the file may have together. */
export const maxFields: number = 1024 * 1024
/** How many fields there may be. */
export const maxFieldCount = 1000

/** A field that comes byte by byte is not held as so many pieces. */
const mostPieces = 256

/** A form has exactly one part of the name `file`; clients give that one a filename, or every part, or none. */
const isFile = (name: string): boolean => name.toLowerCase() === 'file'

const notOneFile = (found: number): SseError =>
  new SseError('InvalidArgument', {
    message: 'POST requires exactly one file upload per request.',
    details: { ArgumentName: 'file', ArgumentValue: String(found) },
  })

const openReader = (source: Readable, contentType: string): MultipartReader => {
  const boundary = boundaryOf(contentType)
  if (boundary !== undefined) return new MultipartReader(source, boundary)
  throw new SseError('PreconditionFailed', {
    message: 'At least one of the pre-conditions you specified did not hold',
    details: { Condition: 'Bucket POST must be of the enclosure-type multipart/form-data' },
  })
}

/** The body that the reader has come to, then the rest of the form. */
async function* fileOf(reader: MultipartReader, source: Readable): AsyncGenerator<Uint8Array, void, undefined> {
  yield* reader.body()
  for (let part = await reader.next(); part !== undefined; part = await reader.next()) {
    if (isFile(part.name)) throw notOneFile(2)
  }
  reader.release()
  source.resume() // what follows the form
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
 * `MaxPostPreDataLengthExceeded`, `InvalidArgument` (no file, or two). The source is never destroyed, so that an error can still be answered.
 */
export const readForm = async (source: Readable, contentType: string): Promise<UploadForm> => {
  const reader = openReader(source, contentType)
  try {
    const fields = new Map<string, string>()
    let size = 0
    for (let count = 0; ; count++) {
      const part = await reader.next()
      if (part === undefined) throw notOneFile(0)
      if (isFile(part.name)) {
        const file = toReadable(fileOf(reader, source), () => reader.release())
        return { fields, filename: part.filename, file }
      }
      const name = part.name.toLowerCase()
      const pieces: Uint8Array[] = []
      size += name.length
      for await (const piece of reader.body()) {
        size += piece.length
        if (size > maxFields) break
        pieces.push(piece)
        if (pieces.length === mostPieces) pieces.splice(0, mostPieces, Buffer.concat(pieces))
      }
      if (size > maxFields || count >= maxFieldCount) throw new SseError('MaxPostPreDataLengthExceeded')
      const value = formText(Buffer.concat(pieces))
      const before = fields.get(name)
      fields.set(name, before === undefined ? value : `${before},${value}`)
    }
  } catch (error) {
    reader.release()
    throw error
  }
}
