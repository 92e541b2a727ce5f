/** Real PKCS#11 tokens: SoftHSM 2, and the softoken of NSS. Both are in folders of the test. */
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type Pkcs11Kms, pkcs11Kms, type Pkcs11KmsOptions } from '../../lib/kms/pkcs11/pkcs11.ts'
import { debian } from './debian.ts'

/** A token, and two keys of it. */
export interface TestToken {
  readonly kms: Pkcs11Kms
  readonly keyId: string
  readonly otherKeyId: string
  /** What `kms` was made with. */
  readonly options: Pkcs11KmsOptions
  /** Runs code in another process that is logged in: `native`, `api` and `session` are there. What it returns, as JSON. */
  elsewhere(code: string): Promise<unknown>
  /** Takes the token away, and puts it back. */
  remove(): void
  putBack(): void
  stop(): Promise<void>
}

/** How a token is started. */
export type StartToken = (directory: string, mechanism?: Pkcs11KmsOptions['mechanism']) => Promise<TestToken>

const softhsm = debian('/usr/bin/softhsm2-util', 'softhsm2')
const certutil = debian('/usr/bin/certutil', 'libnss3-tools')
const softoken = ['/usr/lib/x86_64-linux-gnu', '/usr/lib/aarch64-linux-gnu', '/usr/lib64', '/usr/lib']
  .map(folder => join(folder, 'libsoftokn3.so'))
  .find(path => existsSync(path))

const run = promisify(execFile)

const start = async (options: Pkcs11KmsOptions, pin: string, folder: string): Promise<TestToken> => {
  const kms = pkcs11Kms(options)
  const [{ keyId }, { keyId: otherKeyId }] = [await kms.create('test'), await kms.create('other')]
  const { module, token, moduleParameters } = options
  return {
    kms,
    keyId,
    otherKeyId,
    options,
    elsewhere: async code => {
      const parameters = moduleParameters === undefined ? {} : { libraryParameters: `${moduleParameters} ` }
      const script = `
        const api = require('pkcs11js')
        const native = new api.PKCS11()
        native.load(${JSON.stringify(module)})
        native.C_Initialize({ flags: 2, ...${JSON.stringify(parameters)} })
        const slot = native.C_GetSlotList(true).find(slot => native.C_GetTokenInfo(slot).label.trimEnd() === ${JSON.stringify(token)})
        const session = native.C_OpenSession(slot, 6)
        native.C_Login(session, 1, ${JSON.stringify(pin)})
        const find = template => {
          native.C_FindObjectsInit(session, template)
          const found = native.C_FindObjects(session, 100)
          native.C_FindObjectsFinal(session)
          return found
        }
        console.log(JSON.stringify((() => { ${code} })() ?? null))`
      const env = { PATH: process.env['PATH'], SOFTHSM2_CONF: process.env['SOFTHSM2_CONF'] }
      const { stdout } = await run(process.execPath, ['--eval', script], { env })
      return JSON.parse(stdout)
    },
    remove: () => renameSync(folder, `${folder}.away`),
    putBack: () => renameSync(`${folder}.away`, folder),
    stop: async () => {
      await kms.close()
    },
  }
}

/** Why tests with SoftHSM skip. */
export const noSoftHsm = softhsm.missing

const softHsmModule = '/usr/lib/softhsm/libsofthsm2.so'

/** The folder with SoftHSM's tokens, once there is one: the module reads it from the environment. */
let softHsmFolder: string | undefined
const softHsmTokens = new Set<string>()

/** A token of SoftHSM 2, one for each mechanism; the first directory of a process has them all. */
export const startSoftHsm: StartToken = async (directory, mechanism = 'aes-gcm') => {
  const [pin, token] = ['1234', mechanism]
  if (softHsmFolder === undefined) {
    softHsmFolder = join(directory, 'tokens')
    mkdirSync(softHsmFolder)
    const config = join(directory, 'softhsm2.conf')
    writeFileSync(config, `directories.tokendir = ${softHsmFolder}\nobjectstore.backend = file\nlog.level = ERROR\n`)
    process.env['SOFTHSM2_CONF'] = config
  }
  if (!softHsmTokens.has(token)) {
    const secrets = ['--so-pin', '12345678', '--pin', pin]
    const env = { SOFTHSM2_CONF: process.env['SOFTHSM2_CONF'] ?? '' }
    await softhsm.run(['--init-token', '--free', '--label', token, ...secrets], env)
    softHsmTokens.add(token)
  }
  return start({ instance: 'hsm1', module: softHsmModule, token, pin, mechanism }, pin, softHsmFolder)
}

/** Why tests with softoken skip. */
export const noSoftoken = certutil.missing || (softoken === undefined && 'libsoftokn3.so is missing (Debian: libnss3)')

/** The softoken of NSS: one folder a process. */
export const startSoftoken: StartToken = async (directory, mechanism) => {
  const folder = join(directory, 'nss')
  const pin = 'Test-pin-1'
  if (!existsSync(folder)) {
    mkdirSync(folder)
    writeFileSync(join(directory, 'pin'), `${pin}\n`)
    await certutil.run(['-N', '-d', `sql:${folder}`, '-f', join(directory, 'pin')])
  }
  const moduleParameters = `configdir='sql:${folder}' certPrefix='' keyPrefix='' secmod='' flags=`
  const options = { instance: 'nss1', module: softoken ?? '', token: 'NSS Certificate DB', pin, mechanism }
  return start({ ...options, moduleParameters }, pin, folder)
}
