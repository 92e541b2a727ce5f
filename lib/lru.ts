/** A bounded map. The least recently used entry is evicted first. */

/** Bounds of an {@link Lru}. */
export interface LruOptions<K, V> {
  /** The most entries at once; where `weigh` is given, the most that all of them weigh. */
  readonly most: number
  /** What an entry counts for, the same at every call; 1 where left out. */
  readonly weigh?: ((value: V) => number) | undefined
  /** Called with every value that leaves: evicted, replaced or deleted. */
  readonly onEvict?: ((value: V, key: K) => void) | undefined
}

/** A bounded map. A Map keeps the order of insertion, so an entry that is used goes to its end. */
export class Lru<K, V> {
  readonly #entries = new Map<K, V>()
  readonly #options: LruOptions<K, V>
  #weight = 0

  /** An empty map with these bounds. */
  constructor(options: LruOptions<K, V>) {
    this.#options = options
  }

  /** How many entries there are. */
  get size(): number {
    return this.#entries.size
  }

  /** The value of a key, which becomes the most recently used. */
  get(key: K): V | undefined {
    const value = this.#entries.get(key)
    if (value === undefined) return undefined
    this.#entries.delete(key)
    this.#entries.set(key, value)
    return value
  }

  /** Keeps a value, in place of the one that the key had; what no longer fits leaves, perhaps this one too. */
  set(key: K, value: V): void {
    if (this.#entries.get(key) === value) this.#entries.delete(key)
    else {
      this.delete(key)
      this.#weight += this.#weigh(value)
    }
    this.#entries.set(key, value)
    for (const oldest of this.#entries.keys()) {
      if (this.#weight <= this.#options.most) break
      this.delete(oldest)
    }
  }

  /** Removes a key, if it is there. */
  delete(key: K): void {
    const value = this.#entries.get(key)
    if (value === undefined) return
    this.#entries.delete(key)
    this.#weight -= this.#weigh(value)
    this.#options.onEvict?.(value, key)
  }

  /** Takes all values out. */
  clear(): void {
    for (const key of this.#entries.keys()) this.delete(key)
  }

  /** Keys and values, the one that was not used for longest first. */
  entries(): IterableIterator<[K, V]> {
    return this.#entries.entries()
  }

  #weigh(value: V): number {
    return this.#options.weigh?.(value) ?? 1
  }
}
