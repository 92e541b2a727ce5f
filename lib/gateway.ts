/**
 * The S3-compatible gateway as a handler for `node:http`. It needs the optional packages that `docs/guide-server.md` lists. The rules that it
 * decides by are functions of `sse-kms-streams/rules`.
 *
 * @module sse-kms-streams/gateway
 */
export { authenticateStore, type IndexKeyOptions } from './gateway/index-key.ts'
export { createGateway, type GatewayHandler, type GatewayUsers } from './gateway/gateway.ts'
export type { GatewayLimits } from './gateway/limits.ts'
export type { AccessLogEntry, GatewayOptions, GatewayUser, KeyUseEntry } from './gateway/options.ts'
