/** Headers of an answer that its request replaces: `response-content-type` and its like, on GET and HEAD. */
import { validateHeaderValue } from 'node:http'
import { SseError } from '../errors.ts'
import type { AnswerHeaders } from './answer.ts'
import type { Context } from './context.ts'
import { asHeader } from './headers.ts'

const names = [
  'cache-control',
  'content-disposition',
  'content-encoding',
  'content-language',
  'content-type',
  'expires',
]

/**
 * The headers that the query asks for. `InvalidRequest` where nobody signed it: a link could else make an object into something that its owner did
 * not store. `InvalidArgument` for what no header can say.
 */
export const overriddenHeaders = ({ query, requester }: Pick<Context, 'query' | 'requester'>): AnswerHeaders => {
  const headers = new Map<string, string>()
  for (const name of names) {
    const parameter = `response-${name}`
    const value = query.get(parameter)
    if (value === undefined) continue
    if (requester.kind === 'anonymous') {
      const message = 'Request specific response headers cannot be used for anonymous GET requests. Sign the request.'
      throw new SseError('InvalidRequest', { message })
    }
    const text = asHeader(value)
    try {
      validateHeaderValue(name, text)
    } catch (cause) {
      const message = `${parameter} has a character that a header cannot have. Leave it out.`
      throw new SseError('InvalidArgument', { message, details: { ArgumentName: parameter }, cause })
    }
    headers.set(name, text)
  }
  return Object.fromEntries(headers)
}
