/** A configuration in a file: read, checked against the schema, and its faults named by field. */
import { readFile } from 'node:fs/promises'
import { SseError } from '../errors.ts'
import { checkConfig, type ConfigFile } from './config-schema.ts'

/** The error of a configuration: `where` is the file, each problem such as `tenants[0].domainId: expected …`. */
export const wrong = (where: string, ...problems: readonly string[]): SseError => {
  const message = `${where}: ${problems.join('; ')}. See sse-kms serve --print-schema.`
  return new SseError('InvalidConfig', { message })
}

/** Checks a configuration that was parsed; `InvalidConfig` names the fields that are wrong. */
export const checked = (where: string, input: unknown): ConfigFile => {
  const { config, problems } = checkConfig(input)
  if (config === undefined) throw wrong(where, ...problems)
  return config
}

const parse = (path: string, text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw wrong(path, `this is not JSON, ${String(cause)}`)
  }
}

/** The configuration in a file; `InvalidConfig` where it is wrong. */
export const readConfigFile = async (path: string): Promise<ConfigFile> =>
  checked(path, parse(path, await readFile(path, 'utf8')))
