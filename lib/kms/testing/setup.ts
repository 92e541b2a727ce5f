/** What the conformance suite is given of a key manager, and what it says of it. Types alone. */
import type { KeyManager } from '../manager.ts'
import type { DataKeyWrapper } from '../provider.ts'

/**
 * Begins a fault of the key manager's component; what it resolves to ends it again. The component must take the next call at once then: end the
 * connections that hung, and leave those that the client keeps.
 */
export type Fault = () => Promise<() => Promise<void>>

/** Another provider. */
export interface SecondProvider {
  /** The provider. */
  readonly kms: DataKeyWrapper
  /** Full id of a key of it. */
  readonly keyId: string
}

/** A key manager, and what the cases need of it. Two enabled keys are enough; what is left out makes a case not applicable. */
export interface ConformanceSetup {
  /** The key manager. */
  readonly kms: KeyManager
  /** Full id of an enabled key. It is given a new version, where keys have versions. */
  readonly keyId: string
  /** Full id of another enabled key. It is disabled, and enabled again. */
  readonly otherKeyId: string
  /** Well-formed full id of a key that there never was. */
  readonly missing?: string | undefined
  /** Full id of a key of another instance or account; made of `keyId` where left out. */
  readonly foreign?: string | undefined
  /** Other spellings of `keyId`, such as an alias; some are made of `keyId` in any case. */
  readonly spellings?: readonly string[] | undefined
  /** Makes a new key useless for ever and resolves to its full id, where the key manager does not do that itself. */
  readonly deleted?: (() => Promise<string>) | undefined
  /** Disables a key, where the key manager does not do that itself. */
  readonly disable?: ((keyId: string) => Promise<unknown>) | undefined
  /** Enables a key, where the key manager does not do that itself. */
  readonly enable?: ((keyId: string) => Promise<unknown>) | undefined
  /** Gives a key a new version, where the key manager does not do that itself. */
  readonly rotate?: ((keyId: string) => Promise<unknown>) | undefined
  /** Another provider, for moves between the two; one in memory where left out. */
  readonly second?: SecondProvider | undefined
  /** What must never be seen: PINs, tokens, passwords. */
  readonly secrets?: readonly string[] | undefined
  /** The component takes requests and answers none. */
  readonly hang?: Fault | undefined
  /** The component cannot be reached. */
  readonly unavailable?: Fault | undefined
  /** The component asks to be left alone for a while. */
  readonly throttled?: Fault | undefined
  /** Cases that cannot be run here, by their names, each with the reason. */
  readonly notApplicable?: Readonly<Record<string, string>> | undefined
  /** Called when all is done, also where the setup is refused; by `runConformance` alone. */
  readonly stop?: (() => Promise<void> | void) | undefined
}

/** One thing that key managers are held to. */
export interface ConformanceCase {
  /** Names it in reports. */
  readonly name: string
  /** What it holds a key manager to. */
  readonly about: string
  /** Resolves to nothing where it holds, or to why it does not apply; rejects where it does not hold. */
  run(setup: ConformanceSetup): Promise<string | undefined>
}

/** What became of a case. */
export interface ConformanceResult {
  /** Name of the case. */
  readonly name: string
  /** What it holds a key manager to. */
  readonly about: string
  /** How it ended. */
  readonly outcome: 'passed' | 'failed' | 'not applicable'
  /** Why it failed, or does not apply. */
  readonly reason?: string | undefined
}

/** What became of all cases. */
export interface ConformanceReport {
  /** Name of the provider. */
  readonly provider: string
  /** Whether it says that it binds contexts. */
  readonly bindsContext: boolean
  /** Whether no case failed. */
  readonly passed: boolean
  /** Each case, in the order in which they ran. */
  readonly results: readonly ConformanceResult[]
}
