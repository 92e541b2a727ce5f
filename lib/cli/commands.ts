/** The commands there are; each is loaded when it is called. */
import type { Command } from './command.ts'

/** A command before it is loaded. */
export interface CommandEntry {
  readonly name: string
  /** One line for the help. */
  readonly summary: string
  load(): Promise<Command>
}

/** All commands, as the help lists them. */
export const commands: readonly CommandEntry[] = [
  {
    name: 'keys',
    summary: 'create, list, disable, enable, rotate and delete master keys',
    load: async () => (await import('./keys.ts')).keys,
  },
  {
    name: 'encrypt',
    summary: 'encrypt a file, or stdin to stdout',
    load: async () => (await import('./encrypt.ts')).encrypt,
  },
  {
    name: 'decrypt',
    summary: 'decrypt a file or a range of it, or stdin to stdout',
    load: async () => (await import('./decrypt.ts')).decrypt,
  },
  {
    name: 'inspect',
    summary: 'show what an encrypted file says of itself, without a key',
    load: async () => (await import('./inspect.ts')).inspect,
  },
  {
    name: 'rewrap',
    summary: 'move an encrypted file to another master key without decrypting it',
    load: async () => (await import('./rewrap.ts')).rewrap,
  },
  {
    name: 'serve',
    summary: 'start the S3-compatible gateway',
    load: async () => (await import('./serve.ts')).serve,
  },
]
