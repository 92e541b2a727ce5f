/** A self-signed certificate for this machine's loopback, made by the command openssl. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'

/** The line that a test skips with where it cannot make a certificate; `false` where it can. */
export const noOpenssl: string | false =
  spawnSync('openssl', ['version']).status !== 0 && 'the command openssl is not installed (Debian: openssl)'

/** Paths of PEM files. */
export interface Certificate {
  readonly cert: string
  readonly key: string
}

/** Makes one for 127.0.0.1, ::1 and localhost in this folder. */
export const makeCertificate = (folder: string): Certificate => {
  const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
  const names = 'subjectAltName=DNS:localhost,DNS:*.localhost,IP:127.0.0.1,IP:::1'
  const made = spawnSync('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'],
    ...['-subj', '/CN=sse-kms-streams test', '-addext', names, '-keyout', key, '-out', cert],
  ])
  if (made.status !== 0) throw new Error(`openssl: ${String(made.stderr)}`)
  return { cert, key }
}
