/** Secrets of a configuration: the text itself, or where it is, the environment or a file. Needs zod. */
import { readFileSync } from 'node:fs'
import { z } from 'zod'
import { SseError } from '../errors.ts'
import type { Environment } from './io.ts'

/** A text that is not empty. */
export const text = () => z.string().min(1, { error: 'expected a string that is not empty' })

/** The environment variable that holds a secret. */
export const variable = z.strictObject({
  environment: z
    .string({ error: 'expected the name of an environment variable' })
    .regex(/^[A-Za-z_][A-Za-z0-9_]*$/, { error: 'expected the name of an environment variable' })
    .describe('Name of the environment variable that holds the secret.'),
})

const file = z.strictObject({
  file: text().describe('File that holds the secret. A line break at its end is left out.'),
})

/** A secret. */
export const secret = z.union([text(), variable, file], {
  error: 'expected a string, { "environment": "NAME" } or { "file": "PATH" }',
})

/** A secret as a configuration has it. */
export type SecretFile = z.output<typeof secret>

/** The error of a wrong configuration. `where` is its file; a problem names its field. */
export const invalidConfig = (where: string, ...problems: readonly string[]): SseError => {
  const message = `${where}: ${problems.join('; ')}. See sse-kms serve --print-schema.`
  return new SseError('InvalidConfig', { message })
}

/** Where a secret stands: for messages. */
export interface SecretPlace {
  readonly env: Environment
  /** The file of the configuration. */
  readonly where: string
  /** The field. */
  readonly path: string
}

/** The text of a secret. `InvalidConfig` where the variable is not set or the file cannot be read. */
export const secretOf = (secret: SecretFile, { env, where, path }: SecretPlace): string => {
  if (typeof secret === 'string') return secret
  if ('environment' in secret) {
    const value = env[secret.environment]
    if (value !== undefined && value !== '') return value
    throw invalidConfig(where, `${path}: the environment variable ${secret.environment} is not set`)
  }
  let content = ''
  try {
    content = readFileSync(secret.file, 'utf8').replace(/\r?\n$/, '')
  } catch (error) {
    throw invalidConfig(where, `${path}: the file cannot be read: ${error instanceof Error ? error.message : ''}`)
  }
  if (content !== '') return content
  throw invalidConfig(where, `${path}: the file ${secret.file} is empty`)
}

/** A secret that is read whenever it is needed: a file may change meanwhile. What cannot be read now is an error now. */
export const secretSource = (secret: SecretFile, place: SecretPlace): (() => string) => {
  const now = secretOf(secret, place)
  return typeof secret === 'object' && 'file' in secret ? () => secretOf(secret, place) : () => now
}
