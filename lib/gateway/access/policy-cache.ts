/** Parsed bucket policies, so that a request costs a look-up and no parsing: bounded, and never older than the text in the store. */
import { SseError } from '../../errors.ts'
import { Lru } from '../../lru.ts'
import { parsePolicy, type Policy } from '../../policy/policy.ts'
import type { Bucket } from '../../store/records.ts'

/** The policy of a bucket as it is now; `undefined` where it has none. `StoreFailed` where its text is none: nobody gets in by it. */
export type PolicyOf = (bucket: Bucket) => Policy | undefined

const parse = (bucket: string, text: string): Policy => {
  try {
    return parsePolicy(text, { bucket })
  } catch (cause) {
    throw new SseError('StoreFailed', {
      message: 'The policy of the bucket cannot be read. Put it again, or delete it.',
      cause,
    })
  }
}

/** Remembers the policies of the `most` buckets that were asked for last. */
export const createPolicyCache = (most = 256): PolicyOf => {
  const cache = new Lru<string, { readonly text: string; readonly policy: Policy }>({ most })
  return ({ id, name, settings }) => {
    const text = settings['policy']
    const found = cache.get(id)
    if (found?.text === text) return found?.policy
    cache.delete(id)
    if (text === undefined) return undefined
    const policy = parse(name, text)
    cache.set(id, { text, policy })
    return policy
  }
}
