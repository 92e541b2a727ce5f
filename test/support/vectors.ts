/**
 * Test vectors that are not part of the project: files of `SSE_KMS_VECTORS`, a folder relative to the project's root. Tests that need
 * them skip, and say so, where the folder is absent.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))
const folder = resolve(root, process.env['SSE_KMS_VECTORS'] ?? '../shared/vectors')

/** For the option `skip` of a test: why there are no vectors, or `false` where there are. */
export const skipReason: string | false = existsSync(folder)
  ? false
  : `no test vectors in ${folder}; set SSE_KMS_VECTORS to their folder`

/** A file of vectors, such as `sk1.json`, in the shape that the test expects; nothing where the folder is absent. */
export const vectors = <T>(name: string): T | undefined => {
  if (skipReason !== false) return undefined
  const parsed: T = JSON.parse(readFileSync(join(folder, name), 'utf8'))
  return parsed
}

/** Bytes of a vector's hex; throws where it is none. */
export const bytes = (digits: string): Uint8Array => {
  if (!/^([0-9a-f]{2})*$/.test(digits)) throw new TypeError('not hex')
  return Uint8Array.from(Buffer.from(digits, 'hex'))
}
