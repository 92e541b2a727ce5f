/** What a gateway lets its clients take: the limits that its handler holds, and their defaults. Connections are the server's to limit. */

/** Limits of a gateway. */
export interface GatewayLimits {
  /** Seconds that the key manager has for a call of the handler's own; `deadline` of `createSse` bounds those of encryption. */
  readonly kmsSeconds: number
}

/** The limits that hold where none are given. */
export const defaultLimits: GatewayLimits = { kmsSeconds: 5 }

/** Limits with their defaults. `RangeError` for what is no number above 0. */
export const limitsOf = (given: Partial<GatewayLimits> = {}): GatewayLimits => {
  const limits = { ...defaultLimits, ...given }
  for (const [name, value] of Object.entries(limits)) {
    if (!(Number.isFinite(value) && value > 0)) throw new RangeError(`limits.${name} is a number above 0`)
  }
  return limits
}
