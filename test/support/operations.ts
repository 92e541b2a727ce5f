/**
 * The operations of S3 and of OBS, as the clients of both have them, and what the gateway makes of each: its request is put together by the
 * client (S3) or by the client's own table (OBS), and routed.
 */
import * as s3 from '@aws-sdk/client-s3'
import { createRequire } from 'node:module'
import { SseError } from '../../lib/errors.ts'
import { actions } from '../../lib/gateway/actions/index.ts'
import { parseTarget } from '../../lib/gateway/http/target.ts'
import { parseQuery, route } from '../../lib/gateway/http/route.ts'

/** What becomes of an operation: the action that does it, or the error's code and the sub-resource that it names. */
export interface Fate {
  readonly operation: string
  readonly of: 'S3' | 'OBS'
  readonly action?: string | undefined
  readonly code?: string | undefined
  readonly sub?: string | undefined
  /** The operation that the message names. */
  readonly named?: string | undefined
}

const fateOf = (
  operation: string,
  of: Fate['of'],
  method: string,
  path: string,
  query: string,
  copySource: boolean,
): Fate => {
  try {
    const { bucket, key } = parseTarget('127.0.0.1', path, [])
    const action = route({ method, bucket, key, query: parseQuery(query), copySource })
    return { operation, of, ...(action in actions ? { action } : { code: 'NotImplemented' }) }
  } catch (error) {
    if (!(error instanceof SseError)) throw error
    const [, named, sub] =
      /^(\w+) is not implemented here\. Leave out the sub-resource (\S+)\.$/.exec(error.message) ?? []
    return { operation, of, code: error.code, sub, named }
  }
}

/** Of hosts of their own: told and refused before routing. */
const elsewhere = new Set(['ListDirectoryBuckets', 'WriteGetObjectResponse'])

const input = {
  ...{
    Bucket: 'bucket',
    Key: 'key',
    Id: 'id',
    UploadId: 'upload',
    PartNumber: 1,
    RequestRoute: 'r',
    RequestToken: 't',
  },
  ...{ CopySource: 'bucket/key', RenameSource: 'bucket/key', ObjectAttributes: ['ETag'], Delete: { Objects: [] } },
  ...{ AccelerateConfiguration: {}, AnnotationName: 'annotation' },
}

/** A command of every operation of `@aws-sdk/client-s3`, for the object "key" of the bucket "bucket". */
export const s3Commands = (): ReadonlyMap<string, s3.PutObjectCommand> => {
  const commands = new Map<string, s3.PutObjectCommand>()
  for (const [name, Command] of Object.entries(s3)) {
    const [, operation] = /^([A-Z]\w+)Command$/.exec(name) ?? []
    if (operation !== undefined) commands.set(operation, Reflect.construct(Object(Command), [input]))
  }
  return commands
}

class Built extends Error {}

/** Every operation of `@aws-sdk/client-s3`. */
export const s3Operations = async (): Promise<readonly Fate[]> => {
  const client = new s3.S3Client({
    ...{ endpoint: 'http://127.0.0.1', region: 'us-east-1', forcePathStyle: true },
    credentials: { accessKeyId: 'a', secretAccessKey: 's' },
  })
  const fates: Fate[] = []
  for (const [operation, command] of s3Commands()) {
    if (elsewhere.has(operation)) continue
    const seen: { request?: unknown } = {}
    command.middlewareStack.add(
      () => (args: { readonly request: unknown }) => {
        seen.request = args.request
        throw new Built()
      },
      { step: 'build', priority: 'low' },
    )
    await client.send(command).catch((error: unknown) => {
      if (!(error instanceof Built)) throw error
    })
    const { method, path, query, headers } = Object(seen.request)
    const text = new URLSearchParams(Object(query)).toString()
    fates.push(fateOf(operation, 'S3', method, path, text, 'x-amz-copy-source' in headers))
  }
  client.destroy()
  return fates
}

/** Every operation of `esdk-obs-nodejs`. */
export const obsOperations = (): readonly Fate[] => {
  const model: object = createRequire(import.meta.url)('esdk-obs-nodejs/lib/obsModel.js')
  return Object.entries(model).flatMap(([operation, { httpMethod, urlPath, parameters }]) => {
    if (httpMethod === undefined) return []
    const all = Object.values(Object(parameters)).map(Object)
    const inQuery = all.filter(({ location, required }) => location === 'urlPath' && required === true)
    const query = [urlPath, ...inQuery.map(({ sentAs }) => `${sentAs}=1`)].filter(Boolean).join('&')
    const key = 'Key' in Object(parameters) && Object(parameters).Key.location === 'uri' ? '/key' : ''
    const bucket = 'Bucket' in Object(parameters) ? `/bucket${key}` : '/'
    const copies = all.some(({ sentAs }) => sentAs === 'copy-source')
    return [fateOf(operation, 'OBS', httpMethod, bucket, query, copies)]
  })
}
