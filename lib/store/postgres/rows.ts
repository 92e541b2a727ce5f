/** Objects, uploads and parts as rows, and back. What a record leaves out is NULL, and JSON is kept as it was written. */
import type { EncryptionKind } from '../../sse/names.ts'
import type {
  NewObject,
  NewUpload,
  ObjectNotes,
  ObjectRecord,
  ObjectSummary,
  Part,
  Upload,
  UploadNotes,
} from '../records.ts'
import type { Value } from './connection.ts'
import { hasNul, nameOf } from './context.ts'

/** The columns of a summary. */
export interface SummaryRow {
  readonly size: number
  readonly stored_size: number
  readonly etag: string
  readonly modified: number
  readonly kind: EncryptionKind
  readonly headers: Readonly<Record<string, string>>
  readonly notes: ObjectNotes
  readonly owner: string
  readonly revision: string
}

/** The columns of an object. */
export interface ObjectRow extends SummaryRow {
  readonly envelope: Uint8Array | null
  readonly sealed_values: Uint8Array | null
  readonly part_values: Uint8Array | null
  readonly mac: Uint8Array | null
  readonly body_id: string
}

/** The names of the columns of a summary. */
export const summaryColumns =
  'o.size, o.stored_size, o.etag, o.modified, o.kind, o.headers, o.notes, o.owner, o.revision'

/** The names of the columns of an object. */
export const objectColumns = `${summaryColumns}, o.envelope, o.sealed_values, o.part_values, o.mac, o.body_id`

/** A summary of its row. */
export const summaryOf = (row: SummaryRow): ObjectSummary => {
  const { size, stored_size: storedSize, etag, modified, kind, headers, notes, owner, revision } = row
  return { size, storedSize, etag, modified, kind, headers, notes, owner, revision }
}

const optional = (record: Pick<NewObject, 'envelope' | 'values' | 'partValues' | 'mac'>) => ({
  ...(record.envelope && { envelope: record.envelope }),
  ...(record.values && { values: record.values }),
  ...(record.partValues && { partValues: record.partValues }),
  ...(record.mac && { mac: record.mac }),
})

/** A record of its row. */
export const recordOf = (row: ObjectRow): ObjectRecord => ({
  ...summaryOf(row),
  ...optional({
    envelope: row.envelope ?? undefined,
    values: row.sealed_values ?? undefined,
    partValues: row.part_values ?? undefined,
    mac: row.mac ?? undefined,
  }),
})

/** A new record, with what the store adds. */
export const newRecord = (record: NewObject, storedSize: number, revision: string): ObjectRecord => {
  const { size, etag, modified, kind, headers, notes, owner } = record
  return { size, storedSize, etag, modified, kind, headers, notes, owner, revision, ...optional(record) }
}

/** The key that the notes name, in a column of its own for those who ask what lies under it. */
export const keyIdOf = ({ keyId }: ObjectNotes): string | null => (keyId === undefined || hasNul(keyId) ? null : keyId)

/** A record as JSON, its bytes in base64. */
export const recordToJson = (record: ObjectRecord): string => {
  const { envelope, values, partValues, mac, ...summary } = record
  const base64 = (bytes: Uint8Array | undefined): string | undefined => bytes && Buffer.from(bytes).toString('base64')
  const sealed = {
    envelope: base64(envelope),
    values: base64(values),
    partValues: base64(partValues),
    mac: base64(mac),
  }
  return JSON.stringify({ ...summary, sealed })
}

/** What {@link recordToJson} made, read by the driver. */
export interface RecordJson extends ObjectSummary {
  readonly sealed: Readonly<Partial<Record<'envelope' | 'values' | 'partValues' | 'mac', string>>>
}

/** A record of its JSON. */
export const recordOfJson = ({ sealed, ...summary }: RecordJson): ObjectRecord => {
  const bytes = (text: string | undefined): Uint8Array | undefined =>
    text === undefined ? undefined : Buffer.from(text, 'base64')
  const { envelope, values, partValues, mac } = sealed
  return {
    ...summary,
    ...optional({ envelope: bytes(envelope), values: bytes(values), partValues: bytes(partValues), mac: bytes(mac) }),
  }
}

/** The columns of an upload. */
export interface UploadRow {
  readonly serial: string
  readonly key: Uint8Array
  readonly id: Uint8Array
  readonly session: Uint8Array | null
  readonly kind: EncryptionKind
  readonly headers: Readonly<Record<string, string>>
  readonly notes: UploadNotes
  readonly owner: string
  readonly initiated: number
  readonly mac: Uint8Array | null
  readonly token: string | null
}

/** Their names. */
export const uploadColumns =
  'u.serial, u.key, u.id, u.session, u.kind, u.headers, u.notes, u.owner, u.initiated, u.mac, u.token'

/** An upload of its row. */
export const uploadOf = (row: UploadRow): Upload => {
  const { kind, headers, notes, owner, initiated, session, mac, token } = row
  const facts = { id: nameOf(row.id), key: nameOf(row.key), kind, headers, notes, owner, initiated }
  return { ...facts, ...(session && { session }), ...(mac && { mac }), ...(token !== null && { completed: token }) }
}

/** The values of an upload's columns, from `session` on. */
export const uploadValues = ({ session, kind, headers, notes, owner, initiated, mac }: NewUpload): readonly Value[] => [
  session,
  kind,
  JSON.stringify(headers),
  JSON.stringify(notes),
  owner,
  initiated,
  mac,
]

/** The columns of an attempt. */
export interface PartRow {
  readonly number: number
  readonly attempt: string
  readonly size: number
  readonly stored_size: number
  readonly etag: string | null
  readonly receipt: Uint8Array | null
  readonly modified: number
  readonly file: string
}

/** Their names. */
export const partColumns = 'p.number, p.attempt, p.size, p.stored_size, p.etag, p.receipt, p.modified, p.file'

/** An attempt of its row. */
export const partOf = ({ number, attempt, size, stored_size: storedSize, etag, receipt, modified }: PartRow): Part => ({
  number,
  attempt,
  size,
  modified,
  storedSize,
  ...(etag !== null && { etag }),
  ...(receipt && { receipt }),
})
