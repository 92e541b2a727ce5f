/**
 * The end of a master key. A clock may be wrong for a while, and what is destroyed is lost: so a key is destroyed only where its time has
 * come twice, once a day before, and nobody has seen an earlier time in between. The first time is kept with the key.
 */
import { aliasesOf, removeAlias } from './aliases.ts'
import { deletionStep, destroyed, isDestroyed, type KeyName, withDue } from './key.ts'
import type { Keyring } from './keyring.ts'
import type { KeyFiles, StoredKey } from './keys.ts'

/** Keys that exist and were not destroyed. */
export class LivingKeys {
  readonly #keyring: Keyring
  readonly #files: KeyFiles
  readonly #clock: () => number
  readonly #warn: (message: string) => void

  /** Over the files of a key store; warnings are for its operator. */
  constructor(keyring: Keyring, files: KeyFiles, clock: () => number, warn: (message: string) => void) {
    this.#keyring = keyring
    this.#files = files
    this.#clock = clock
    this.#warn = warn
  }

  /** A key that exists and was not destroyed; destroys it where its time has come, and was known to have. */
  async load(name: KeyName): Promise<StoredKey | undefined> {
    for (;;) {
      const stored = await this.#files.load(name)
      if (stored === undefined) return undefined
      const { arn, record, keys } = stored
      if (isDestroyed(record)) {
        await this.#bury(stored)
        return undefined
      }
      const now = this.#clock()
      const step = deletionStep(record, now)
      if (step === 'wait') return stored
      if (step === 'destroy') await this.#files.replace(name, stored, destroyed(record), keys)
      else if (await this.#files.replace(name, stored, withDue(record, step === 'note' ? now : undefined), keys)) {
        this.#warn(step === 'note' ? noted(arn) : withdrawn(arn))
      }
    }
  }

  /** Again and again, because a process may have been killed half way. */
  async #bury(stored: StoredKey): Promise<void> {
    await this.#files.eraseBefore(stored)
    for (const alias of await aliasesOf(this.#keyring, stored.name))
      await removeAlias(this.#keyring, stored.name, alias)
  }
}

const noted = (arn: string): string =>
  `By this machine's clock the waiting time of ${arn} has ended. The key will be destroyed in a day. Set the clock if it is wrong; ` +
  'to keep the key, run sse-kms keys undelete.'

const withdrawn = (arn: string): string =>
  `The clock was ahead when the waiting time of ${arn} seemed to have ended, or it is behind now. The key keeps waiting. Set the clock if it is wrong.`
