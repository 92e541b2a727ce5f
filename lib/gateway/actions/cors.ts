/** CORS: the configuration of a bucket, the answer to a preflight, and what other answers say to a browser. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { SseError } from '../../errors.ts'
import type { Bucket } from '../../store/records.ts'
import { allowCors, corsOf, corsSetting, corsXml, parseCors } from '../access/cors.ts'
import { answerEmpty, answerXml, setHeaders } from '../http/answer.ts'
import { parseTarget, splitUrl } from '../http/target.ts'
import { fromXml } from '../http/xml.ts'
import type { GatewayOptions } from '../options.ts'
import { bucketSetting } from './settings.ts'

const configuration = 'CORSConfiguration'

/** The configuration of a bucket. */
export const bucketCorsActions = bucketSetting({
  name: 'cors',
  permissions: { get: 'GetBucketCORS', put: 'PutBucketCORS' },
  limit: 64 * 1024,
  status: 200,
  parse: document => corsSetting(parseCors(fromXml(document, configuration))),
  answer: ({ res }, _kept, { bucket }) => {
    const rules = corsOf(bucket)
    if (rules.length === 0) throw new SseError('NoSuchCORSConfiguration', { details: { BucketName: bucket.name } })
    answerXml(res, configuration, corsXml(rules))
  },
})

const vary = { vary: 'Origin, Access-Control-Request-Headers, Access-Control-Request-Method' }

const refused = (why: string, method: string, key: string | undefined): SseError =>
  new SseError('AccessForbidden', {
    message: `CORSResponse: ${why}`,
    details: { Method: method, ResourceType: key === undefined ? 'BUCKET' : 'OBJECT' },
  })

const answerPreflight = (
  req: IncomingMessage,
  res: ServerResponse,
  bucket: Bucket | undefined,
  key: string | undefined,
): void => {
  const {
    origin,
    'access-control-request-method': method = '',
    'access-control-request-headers': names = '',
  } = req.headers
  if (origin === undefined) {
    throw new SseError('BadRequest', { message: 'Insufficient information. Origin request header needed.' })
  }
  if (!/^(?:GET|PUT|POST|DELETE|HEAD)$/.test(method)) {
    throw new SseError('BadRequest', {
      message: `Invalid Access-Control-Request-Method: ${method === '' ? 'null' : method}`,
    })
  }
  if (bucket === undefined) throw refused('Bucket not found', method, key)
  const rules = corsOf(bucket)
  if (rules.length === 0) throw refused('CORS is not enabled for this bucket.', method, key)
  const headers = names
    .toLowerCase()
    .split(',')
    .map(name => name.trim())
    .filter(name => name !== '')
  const allowed = allowCors(rules, { origin, method, headers })
  if (allowed === undefined) {
    const why =
      'This CORS request is not allowed. This is usually because the evalution of Origin, request method / ' +
      "Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource's CORS spec."
    throw refused(why, method, key)
  }
  answerEmpty(res, 200, { ...allowed, ...vary })
}

/** A preflight, by the names that OBS gives it. */
export type Preflight = 'OptionsBucket' | 'OptionsObject'

/**
 * What a browser needs before and beside an answer. Answers a preflight, which nobody signs, and says which one it was; `BadRequest`,
 * `AccessForbidden`. For any other request with an origin sets the headers that let the browser read the answer, an error too.
 */
export const answerBrowser = async (
  { store, hosts = [] }: Pick<GatewayOptions, 'store' | 'hosts'>,
  req: IncomingMessage,
  res: ServerResponse,
): Promise<Preflight | undefined> => {
  const { method = '', url = '/', headers } = req
  const isPreflight = method === 'OPTIONS'
  if (!isPreflight && headers.origin === undefined) return undefined
  const { bucket: name, key } = parseTarget(headers.host, splitUrl(url).path, hosts)
  const bucket = name === undefined ? undefined : await store.getBucket(name)
  if (isPreflight) {
    answerPreflight(req, res, bucket, key)
    return key === undefined ? 'OptionsBucket' : 'OptionsObject'
  }
  if (bucket === undefined || headers.origin === undefined) return undefined
  const allowed = allowCors(corsOf(bucket), { origin: headers.origin, method, headers: [] })
  if (allowed !== undefined) setHeaders(res, { ...allowed, ...vary })
  return undefined
}
