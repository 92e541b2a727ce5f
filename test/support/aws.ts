/** AWS KMS as moto serves it, for the real SDK. It keeps its keys in memory: a server that is killed forgets them. */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import type { KMSClientConfig } from '@aws-sdk/client-kms'
import { type AwsKmsOptions, awsKms } from '../../lib/kms/aws/aws.ts'
import type { ConformanceSetup, Fault } from '../../lib/testing.ts'

const isThere = (): boolean => {
  try {
    execFileSync('moto_server', ['--help'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

/** Why there is no moto here; `false` where there is. */
export const noMoto: string | false = !isThere() && 'moto_server is missing (pip install "moto[server]")'

const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new TypeError('no port')
  return address.port
}

const secretAccessKey = 'secret-access-key-of-the-tests'

/** Where a server listens, as the SDK is told. */
export const configOf = (port: number): KMSClientConfig => ({
  region: 'eu-west-1',
  endpoint: `http://127.0.0.1:${port}`,
  credentials: { accessKeyId: 'AKIAIOSFODNN7EXAMPLE', secretAccessKey },
})

/** moto, running, with two keys. */
export interface Moto extends ConformanceSetup {
  readonly config: KMSClientConfig
  /** A key manager of its own, which the caller closes. */
  open(options?: AwsKmsOptions): ConformanceSetup['kms']
  /** Kills the server; its keys are lost. */
  kill(): Promise<void>
  /** Starts it again, on the same port. */
  start(): Promise<void>
  stop(): Promise<void>
}

/** Starts moto. */
export const startMoto = async (): Promise<Moto> => {
  const port = await freePort()
  const config = configOf(port)
  const run = async () => {
    const child = spawn('moto_server', ['-H', '127.0.0.1', '-p', String(port)], { stdio: 'ignore' })
    for (const end = Date.now() + 60_000; ; await pause(100)) {
      const answer = await fetch(`http://127.0.0.1:${port}/moto-api/`).catch(() => undefined)
      if (answer?.ok === true) return child
      if (child.exitCode !== null || Date.now() > end) throw new Error('moto_server did not start')
    }
  }
  let child = await run()
  const kill = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
  const open = (options: AwsKmsOptions = {}) => awsKms({ config, ...options })
  const kms = open()
  if (kms.create === undefined) throw new TypeError('it makes keys')
  const [{ keyId }, { keyId: otherKeyId }] = [await kms.create('photos'), await kms.create('films')]
  const hang: Fault = async () => {
    child.kill('SIGSTOP')
    return async () => void child.kill('SIGCONT')
  }
  return {
    kms,
    keyId,
    otherKeyId,
    missing: keyId.replace(/[^/]*$/, '00000000-0000-4000-8000-000000000000'),
    spellings: ['alias/obs/photos', keyId.replace(/^.*\//, ''), keyId.replace(/key\/.*$/, 'alias/obs/photos')],
    secrets: [secretAccessKey],
    hang,
    foreign: keyId.replace('eu-west-1', 'eu-west-2'),
    notApplicable: {
      'another context': 'moto joins names and values of a context, so that { a: "bc" } is { ab: "c" } to it',
      'tampered blob': 'moto answers a changed blob as if a right lacked, without the words of AWS',
      'blob of another key': 'moto answers a blob of another key as if a right lacked, without the words of AWS',
      'disabled key': 'moto cannot disable keys through the SDK, and goes on using disabled ones',
      'deleted key': 'moto cannot delete keys through the SDK',
    },
    config,
    open,
    kill,
    start: async () => {
      child = await run()
    },
    stop: async () => {
      await kms.close?.()
      await kill()
    },
  }
}
