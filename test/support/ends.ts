/** What is to be ended where no test does it: in scripts. */

/** Ends what was started, the last first. */
export class Ends {
  readonly #ends: (() => unknown)[] = []

  readonly teardown = (end: () => unknown): void => void this.#ends.unshift(end)

  async run(): Promise<void> {
    for (const end of this.#ends.splice(0)) await end()
  }
}
