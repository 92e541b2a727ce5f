/** What a server that runs takes over of a changed configuration, as plain data: who may ask for what, and the certificate. */
import { readFile } from 'node:fs/promises'
import { createSecureContext } from 'node:tls'
import { SseError } from '../errors.ts'
import type { GatewayUsers } from '../gateway/gateway.ts'
import { serviceDomain } from '../gateway/services.ts'
import type { Config } from './config.ts'

/** What is taken over. It has secrets in it. */
export interface Takeover {
  readonly who: GatewayUsers
  /** Certificate and key in PEM; absent where the server speaks HTTP. */
  readonly pem?: { readonly cert: string; readonly key: string }
}

const usersOf = ({ tenants }: Config): GatewayUsers => {
  if (tenants.some(({ domainId }) => domainId === serviceDomain)) {
    throw new SseError('InvalidConfig', {
      message: `tenants: the domain id ${serviceDomain} is reserved for the service. Use another.`,
    })
  }
  return {
    tenants,
    users: tenants.flatMap(({ domainId, projectId, users }) => users.map(user => ({ ...user, domainId, projectId }))),
    keyGrants: tenants.flatMap(({ domainId, keyGrants = [] }) => keyGrants.map(grant => ({ ...grant, domainId }))),
  }
}

const pemOf = async ({ cert, key }: NonNullable<Config['tls']>): Promise<NonNullable<Takeover['pem']>> => {
  const pem = { cert: await readFile(cert, 'utf8'), key: await readFile(key, 'utf8') }
  try {
    createSecureContext(pem)
    return pem
  } catch (cause) {
    const message = `${cert} and ${key} are not a certificate and its private key. Give both in PEM.`
    throw new SseError('FileFailed', { message, cause })
  }
}

/**
 * Reads what is taken over. Rejects with `InvalidConfig` where a tenant has the domain id of the service, with `FileFailed` or the system's error
 * where there is no certificate with its key.
 */
export const takeoverOf = async (config: Config): Promise<Takeover> => {
  const who = usersOf(config)
  return config.tls === undefined ? { who } : { who, pem: await pemOf(config.tls) }
}
