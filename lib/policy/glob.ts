/**
 * The wildcards of policies. `*` matches any characters, also none and also slashes. `?` matches one character (a code point). All others match
 * themselves, and there is no escape. Clients choose the patterns and the texts, so nothing here backtracks: all patterns of a list run
 * together, as one set of states in the bits of 32-bit words. Every input takes (length of the text) x (length of all patterns / 32) steps.
 */

/** A set of small integers. */
class Bits {
  readonly #view: DataView

  constructor(size: number) {
    this.#view = new DataView(new ArrayBuffer(4 * Math.ceil(size / 32)))
  }

  get words(): number {
    return this.#view.byteLength / 4
  }

  word(w: number): number {
    return this.#view.getUint32(4 * w)
  }

  setWord(w: number, bits: number): void {
    this.#view.setUint32(4 * w, bits)
  }

  add(i: number): void {
    this.setWord(i >>> 5, this.word(i >>> 5) | (1 << (i & 31)))
  }
}

/** The states of a list of patterns: of each, one before its first character and one after every character, stars not counted. */
const automaton = (patterns: readonly string[]): ((text: string) => boolean) => {
  const size = patterns.reduce((sum, pattern) => sum + pattern.length + 1, 0)
  const starts = new Bits(size)
  const ends = new Bits(size)
  const stays = new Bits(size) // states that a star lets stay as they are
  const byAny = new Bits(size) // states that any character leads to
  const byCharacter = new Map<string, Map<number, number>>() // states that this character leads to: words by their index
  let i = 0
  for (const pattern of patterns) {
    starts.add(i)
    for (const c of pattern) {
      if (c === '*') stays.add(i)
      else if (c === '?') byAny.add(++i)
      else {
        i++
        const words = byCharacter.get(c) ?? new Map<number, number>()
        byCharacter.set(c, words)
        words.set(i >>> 5, (words.get(i >>> 5) ?? 0) | (1 << (i & 31)))
      }
    }
    ends.add(i++)
  }

  return text => {
    const states = new Bits(size)
    for (let w = 0; w < states.words; w++) states.setWord(w, starts.word(w))
    for (const c of text) {
      const here = byCharacter.get(c)
      let carry = 0
      let alive = 0
      let done = 0
      for (let w = 0; w < states.words; w++) {
        const old = states.word(w)
        const moved = ((old << 1) | carry) & (byAny.word(w) | (here?.get(w) ?? 0))
        const next = moved | (old & stays.word(w))
        states.setWord(w, next)
        carry = old >>> 31
        alive |= next
        done |= next & ends.word(w) & stays.word(w)
      }
      if (done !== 0) return true
      if (alive === 0) return false
    }
    let ended = 0
    for (let w = 0; w < states.words; w++) ended |= states.word(w) & ends.word(w)
    return ended !== 0
  }
}

/** Compiles patterns into a test whether one of them matches a text; a pattern always takes the whole text. */
export const glob = (patterns: readonly string[]): ((text: string) => boolean) => {
  const isWild = (pattern: string): boolean => /[*?]/.test(pattern)
  const plain = new Set(patterns.filter(pattern => !isWild(pattern)))
  const wild = patterns.filter(isWild)
  if (wild.length === 0) return text => plain.has(text)
  const matches = automaton(wild)
  return text => plain.has(text) || matches(text)
}
