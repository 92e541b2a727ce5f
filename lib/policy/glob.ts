/**
 * The wildcards of policies. `*` matches any characters, also none and also slashes. `?` matches one character (a code point). All others match
 * themselves, and there is no escape. Clients choose the patterns and the texts, so nothing here backtracks: all patterns of a list run
 * together, as one set of states in the bits of 32-bit words. Every input takes (length of the text) x (length of all patterns / 32) steps.
 */

const at = (words: Int32Array, w: number): number => words[w] ?? 0

/** Which states a character leads to: indices of words of the set, and those words. */
interface Led<List = Int32Array> {
  readonly indices: List
  readonly bits: List
}

const nowhere: Led = { indices: new Int32Array(0), bits: new Int32Array(0) }

/** The states of a list of patterns: of each, one before its first character and one after every character, stars not counted. */
const automaton = (patterns: readonly string[]): ((text: string) => boolean) => {
  const words = Math.ceil(patterns.reduce((sum, pattern) => sum + pattern.length + 1, 0) / 32)
  const set = () => new Int32Array(words)
  const add = (states: Int32Array, i: number): void => {
    states[i >>> 5] = at(states, i >>> 5) | (1 << (i & 31))
  }
  const starts = set()
  const ends = set()
  const stays = set() // states that a star lets stay as they are
  const byAny = set() // states that any character leads to
  const lists = new Map<string, Led<number[]>>()
  let i = 0
  for (const pattern of patterns) {
    add(starts, i)
    for (const c of pattern) {
      if (c === '*') add(stays, i)
      else if (c === '?') add(byAny, ++i)
      else {
        i++
        const led = lists.get(c) ?? { indices: [], bits: [] }
        lists.set(c, led)
        const same = led.indices.at(-1) === i >>> 5 ? led.bits.pop() : undefined
        if (same === undefined) led.indices.push(i >>> 5)
        led.bits.push((same ?? 0) | (1 << (i & 31)))
      }
    }
    add(ends, i++)
  }
  const byCharacter = new Map(
    Array.from(lists, ([c, { indices, bits }]): [string, Led] => [
      c,
      { indices: Int32Array.from(indices), bits: Int32Array.from(bits) },
    ]),
  )

  return text => {
    let states = set()
    let next = set()
    states.set(starts)
    for (const c of text) {
      let carry = 0
      let alive = 0
      let done = 0
      for (let w = 0; w < words; w++) {
        const old = at(states, w)
        const word = (((old << 1) | carry) & at(byAny, w)) | (old & at(stays, w))
        carry = old >>> 31
        next[w] = word
        alive |= word
        done |= word & at(ends, w) & at(stays, w)
      }
      const { indices, bits } = byCharacter.get(c) ?? nowhere
      for (let n = 0; n < indices.length; n++) {
        const w = at(indices, n)
        const moved = ((at(states, w) << 1) | (w === 0 ? 0 : at(states, w - 1) >>> 31)) & at(bits, n)
        next[w] = at(next, w) | moved
        alive |= moved
        done |= moved & at(ends, w) & at(stays, w)
      }
      if (done !== 0) return true
      if (alive === 0) return false
      const before = states
      states = next
      next = before
    }
    return states.some((word, w) => (word & at(ends, w)) !== 0)
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
