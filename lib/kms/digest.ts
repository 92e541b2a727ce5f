/** What a mechanism authenticates that takes bytes and no map (format.md, section 6). */
import { createHash } from 'node:crypto'
import type { EncryptionContext } from './context.ts'

/** SHA-256 of a context's canonical form, 32 bytes. */
export const contextDigest = (context: EncryptionContext): Uint8Array =>
  new Uint8Array(createHash('sha256').update(context.canonical).digest())
