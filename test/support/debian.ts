/** Commands of Debian's packages, by their own paths: a version manager may put others in front. */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** A command, or in one line why its tests skip. */
export interface DebianCommand {
  readonly missing: string | false
  /** Runs it to its end: what it wrote to stdout. Rejects, with its stderr in the message, where it fails. */
  run(args: readonly string[], env?: Readonly<Record<string, string>>): Promise<Buffer>
}

/** A command of a package; `proof` is a file that the package brings, the command itself by default. */
export const debian = (command: string, debianPackage: string, proof: string = command): DebianCommand => ({
  missing: !existsSync(proof) && `${proof} is missing (Debian: ${debianPackage})`,
  run: async (args, env = {}) => {
    // Nothing else of the environment: variables such as AWS_CA_BUNDLE change what clients do.
    const options = { env: { PATH: '/usr/bin:/bin', ...env }, encoding: 'buffer', maxBuffer: 64 * 1_048_576 } as const
    return (await run(command, args, options)).stdout
  },
})
