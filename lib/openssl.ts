/**
 * The engine over the OpenSSL that Node has inside, called through koffi or `node:ffi`. `createSse` loads it by itself where koffi is
 * installed, and with the option `engine: 'openssl'`.
 *
 * @module sse-kms-streams/openssl
 */
export { openSslEngine } from './cipher/openssl/trial.ts'
