/** What the caller of the embedded key store says: options, new keys and filters. */
import type { Engine } from '../../cipher/engine.ts'
import type { KeyScope } from '../provider.ts'
import type { RootKeySource } from './root-key.ts'

/** How `LocalKms.open` opens a key store. */
export interface LocalKmsOptions {
  /** Where the root key comes from. */
  readonly root: RootKeySource
  /** What computes. Left out: `node:crypto`, or WebCrypto or noble where a runtime lacks a part of it. */
  readonly engine?: Engine | undefined
  /** The time in ms since 1970; the system's where left out. */
  readonly clock?: (() => number) | undefined
  /** Whether to make a key store where there is none; yes where left out. */
  readonly create?: boolean | undefined
  /** Told what the operator should know, one line each time; `process.emitWarning` where left out. */
  readonly onWarning?: ((message: string) => void) | undefined
  /** How many master keys are held in memory between uses; 1,000 where left out. */
  readonly heldKeys?: number | undefined
}

/** What a new key is. */
export interface NewKey extends KeyScope {
  /** A first alias, with or without `alias/`. */
  readonly alias?: string | undefined
}

/** Which keys to list; all regions or domains where left out. */
export interface KeyFilter {
  /** The keys of this region. */
  readonly region?: string | undefined
  /** The keys of this tenant. */
  readonly domainId?: string | undefined
}

/** What tells the operator where nothing else was chosen. */
export const emitWarning = (message: string): void => process.emitWarning(message)

/** A clock whose times can be stored and read again: `RangeError` where it gives another one. */
export const checkedClock = (clock: () => number) => (): number => {
  const now = Math.floor(clock())
  if (!Number.isSafeInteger(now) || now < 0) throw new RangeError('the clock must give ms since 1970')
  return now
}
