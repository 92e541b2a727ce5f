/**
 * For tests alone: the one place where randomness can be replaced. Nothing in the product imports it.
 *
 * @module
 */
export { type RandomSource, replaceRandomness } from './cipher/random.ts'
