/**
 * `${filename}` in the fields of a form stands for the name of its file. A short form can so ask for very long fields: what they would have is
 * counted before any of it is built, and refused where it is too much.
 */
import { SseError } from '../../errors.ts'
import { type FormFields, maxFields, type UploadForm } from './form.ts'
import { signatureFields } from './policy.ts'
import { assertKeyLength } from '../http/target.ts'

const placeholder = '${filename}'

/** Browsers once sent the whole path; of it the name counts. */
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
