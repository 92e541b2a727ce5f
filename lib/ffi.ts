/**
 * The engine over the experimental `node:ffi` of Node 26.1 and later. The option `engine: 'ffi'` of `createSse` loads it as well.
 *
 * @module
 */
export { ffiEngine } from './cipher/ffi.ts'
