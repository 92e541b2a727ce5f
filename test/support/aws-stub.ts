/** AWS KMS as far as a test tells it what to answer, over HTTP: the real SDK sends and parses. */
import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import { text } from 'node:stream/consumers'
import { configOf } from './aws.ts'

/** A request of the SDK. */
export interface AwsRequest {
  /** Name of the operation. */
  readonly action: string
  readonly body: Readonly<Record<string, unknown>>
  readonly headers: IncomingHttpHeaders
}

/** Status and body; a string goes out as it is. */
export type AwsAnswer = readonly [status: number, body: unknown, headers?: Readonly<Record<string, string>>]

/** An error, as AWS writes it. */
export const refusal = (type: string, message = 'words of AWS'): AwsAnswer => [400, { __type: type, message }]

/** Starts a server; `answer` may be replaced. */
export const startAwsStub = async (answer: (request: AwsRequest) => AwsAnswer | Promise<AwsAnswer>) => {
  const requests: AwsRequest[] = []
  const stub = { answer }
  const server = createServer(async (req, res) => {
    const action = String(req.headers['x-amz-target']).replace('TrentService.', '')
    const request = { action, body: JSON.parse(await text(req)), headers: req.headers }
    requests.push(request)
    const [status, body, headers = {}] = await stub.answer(request)
    res.writeHead(status, { 'content-type': 'application/x-amz-json-1.1', 'x-amzn-requestid': 'request-1', ...headers })
    res.end(typeof body === 'string' ? body : JSON.stringify(body))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new TypeError('no port')
  const stop = (): void => {
    server.closeAllConnections()
    server.close()
  }
  return Object.assign(stub, { requests, config: configOf(address.port), stop })
}
