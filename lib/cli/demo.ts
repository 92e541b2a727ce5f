/**
 * The demo tenant of a server that nobody configured: an administrator and an ordinary user, whose secrets are made at the first start and
 * kept in the data folder, in a file that is a configuration itself.
 */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { hex } from '../bytes.ts'
import { randomBytes } from '../cipher/random.ts'
import { tenantAdmin } from '../sse/profile.ts'
import { readConfigFile, wrong } from './config-file.ts'
import type { TenantFile, UserFile } from './config-schema.ts'
import { createOnce } from './output.ts'

/** The demo tenant, and the file that it is kept in. */
export interface Demo {
  readonly path: string
  /** Whether it was made just now. */
  readonly isNew: boolean
  readonly tenants: readonly TenantFile[]
}

const user = (name: string, roles: readonly string[]): UserFile => ({
  name,
  accessKeyId: `DEMO${hex(randomBytes(8)).toUpperCase()}`,
  secretAccessKey: hex(randomBytes(20)),
  roles,
})

const newTenant = (): TenantFile => ({
  domainId: 'domainiddomainiddomainiddoma0001',
  projectId: 'projectidprojectidprojectid00001',
  users: [user('admin', [tenantAdmin]), user('user', [])],
})

/** The demo tenant of a data folder, made if there is none: of two processes that start at once, both get the same. */
export const demoTenants = async (data: string): Promise<Demo> => {
  const path = join(data, 'demo.json')
  await mkdir(data, { recursive: true, mode: 0o700 })
  const isNew = await createOnce(path, `${JSON.stringify({ tenants: [newTenant()] }, undefined, 2)}\n`)
  const { tenants } = await readConfigFile(path)
  if (tenants === undefined)
    throw wrong(path, 'tenants: expected the demo tenant; delete the file to have another made')
  return { path, isNew, tenants }
}
