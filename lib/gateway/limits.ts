/** What a gateway lets its clients take: the limits that its handler holds, and their defaults. Connections are the server's to limit. */

/** Limits of a gateway. */
export interface GatewayLimits {
  /** Bytes a second at which a body must come, and an answer be taken, on average. */
  readonly bytesPerSecond: number
  /** Seconds that a client may keep the gateway waiting for the next bytes of a body, or take nothing of an answer. */
  readonly stallSeconds: number
  /** Seconds in which a document (XML, JSON, the fields of a form) must have come whole. */
  readonly documentSeconds: number
  /** Bytes that all requests together may hold: documents, and answers for slow clients. Beyond them it is `SlowDown`. */
  readonly memoryBytes: number
  /** Seconds that the key manager has for a call of the handler's own; `deadline` of `createSse` bounds those of encryption. */
  readonly kmsSeconds: number
  /** Buckets of a tenant. */
  readonly bucketsPerTenant: number
  /** Open uploads of a bucket. */
  readonly uploadsPerBucket: number
}

/** The limits that hold where none are given. */
export const defaultLimits: GatewayLimits = {
  bytesPerSecond: 1024,
  stallSeconds: 60,
  documentSeconds: 60,
  memoryBytes: 256 * 1024 * 1024,
  kmsSeconds: 5,
  bucketsPerTenant: 100,
  uploadsPerBucket: 10_000,
}

/** Limits with their defaults. `RangeError` for what is no number above 0. */
export const limitsOf = (given: Partial<GatewayLimits> = {}): GatewayLimits => {
  const limits = { ...defaultLimits, ...given }
  for (const [name, value] of Object.entries(limits)) {
    if (name in defaultLimits && !(Number.isFinite(value) && value > 0))
      throw new RangeError(`limits.${name} is a number above 0`)
  }
  return limits
}
