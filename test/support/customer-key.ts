/** A customer's own key (SSE-C), as the headers of both families of clients want it. */
import { createHash, randomBytes } from 'node:crypto'

/** A key and its MD5, in base64. */
export interface CustomerKey {
  readonly bytes: Buffer
  readonly key: string
  readonly md5: string
}

/** Makes a key. */
export const customerKey = (bytes: Buffer = randomBytes(32)): CustomerKey => ({
  bytes,
  key: bytes.toString('base64'),
  md5: createHash('md5').update(bytes).digest('base64'),
})
