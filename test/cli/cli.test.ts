// The command line, every command of it: in this process where streams can be watched, and as processes where signals, pipes and terminals
// count.
import { randomBytes } from 'node:crypto'
import { EventEmitter, once } from 'node:events'
import {
  appendFileSync,
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable, Writable } from 'node:stream'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { base64url } from '../../lib/bytes.ts'
import { parseArguments, suggestion } from '../../lib/cli/command.ts'
import { exitCodes, failureOf } from '../../lib/cli/failure.ts'
import { describe, formatBytes, formatTime, progress, withInput } from '../../lib/cli/files.ts'
import { printable, printableJson } from '../../lib/cli/printable.ts'
import { interruptsOf, type Io } from '../../lib/cli/io.ts'
import { commands } from '../../lib/cli/program.ts'
import { gatewayPackages } from '../../lib/cli/serve.ts'
import { nodeEngine } from '../../lib/cipher/node.ts'
import { encodeEnvelope, encodeReceipt, encodeSession, parseEnvelope } from '../../lib/envelope/envelope.ts'
import { encodeRecord } from '../../lib/envelope/wrap-record.ts'
import { SseError } from '../../lib/errors.ts'
import { encryptionContext } from '../../lib/kms/context.ts'
import { DataKey } from '../../lib/kms/data-key.ts'
import { LocalKms } from '../../lib/kms/local/local.ts'
import { wrapNested } from '../../lib/kms/wrap.ts'
import { createSse } from '../../lib/object/node.ts'
import { cli, Collector, ended, main, shell, source, start, terminal } from '../support/cli.ts'

const none = Buffer.alloc(0)

/** A folder of the test's own, with a key store `keys` in it, and the ARN of its key. */
const setUp = async (t: Test) => {
  const folder = t.testdir()
  const at = (name: string): string => join(folder, name)
  const keyring = at('keys')
  const created = await cli(['keys', 'create', '--keyring', keyring, '--alias', 'first'])
  return { folder, at, keyring, keys: ['--keyring', keyring], arn: created.stdout.toString().trim(), created }
}

const parsed = (result: { readonly stdout: Buffer }): unknown => JSON.parse(result.stdout.toString())

/** A message is one line that says what to do next, and not more. */
const oneLine = (
  t: Test,
  result: { readonly code: number | null; readonly stderr: string },
  code: number,
  pattern: RegExp,
) => {
  t.match(result.stderr, pattern)
  t.match(result.stderr, /^sse-kms: [^\n]+\n$/)
  t.equal(result.code, code)
}

const usageTable: readonly (readonly [line: string, pattern: RegExp])[] = [
  ['', /no command was given/],
  ['encyrpt', /unknown command encyrpt\. Did you mean encrypt\?/],
  ['quux', /unknown command quux\. See sse-kms help\./],
  ['--verzion', /unknown option --verzion\. Did you mean --version\?/],
  ['help nope', /unknown command nope/],
  ['encrypt --keyrign k', /unknown option --keyrign\. Did you mean --keyring\?/],
  ['encrypt -x', /unknown option -x\. See sse-kms help encrypt\./],
  ['encrypt --keyring', /--keyring needs a value, DIR/],
  ['encrypt --keyring -o', /--keyring needs a value, DIR/],
  ['encrypt --keyring a --keyring b', /--keyring was given twice/],
  ['encrypt --json=1', /--json takes no value/],
  ['encrypt a b', /unexpected argument b/],
  ['encrypt', /name keys with --keyring DIR, or --kms aws\|vault\|FILE/],
  ['encrypt --keyring a --customer-key b', /--customer-key is used alone, without --keyring and --kms/],
  ['encrypt --keyring a --suite 4', /--suite 4 is unknown: use 1, 2, 3 or 5/],
  ['encrypt --keyring a --context x', /--context x is not NAME=VALUE/],
  ['encrypt --keyring a --context =x', /--context =x is not NAME=VALUE/],
  ['encrypt --keyring a --context x=1 --context x=2', /--context x was given twice/],
  ['encrypt --keyring a --region a.b', /a region has 1 to 64/],
  ['decrypt --keyring a --range x', /--range x is not A-B, A- or -N/],
  ['decrypt --keyring a --range 5-4', /--range 5-4 is not/],
  ['decrypt --keyring a --range -', /--range - is not/],
  ['decrypt --keyring a --range 9007199254740992-', /--range 9007199254740992- is not/],
  ['inspect a --envelope b', /cannot be used together/],
  ['inspect --envelope a=', /not base64url/],
  ['rewrap', /name the file to rewrap/],
  ['rewrap a --keyring b', /rewrap needs --to KEY/],
  ['rewrap a --to b', /name keys with --keyring DIR, or --kms aws\|vault\|FILE/],
  ['keys', /say what to do: keys create, list, disable, enable, rotate, delete, undelete/],
  ['keys crate', /unknown action keys crate\. Did you mean create\?/],
  ['keys xyzzy-xyzzy', /unknown action keys xyzzy-xyzzy\. See sse-kms help keys\./],
  ['keys create', /name a key store with --keyring DIR or --data DIR/],
  ['keys create --keyring a --data b', /cannot be used together/],
  ['keys create --data b --region r', /keys create --data DIR needs --region and --domain/],
  ['keys create x --keyring a', /unexpected argument x/],
  ['keys create --keyring a --alias a.b', /an alias has 1 to 250/],
  ['keys create --keyring a --days 7', /keys create takes no --days/],
  ['keys disable --keyring a', /keys disable needs a key/],
  ['keys list --keyring a --alias x', /keys list takes no --alias/],
  ['keys list --data a --domain x/y', /a domain id has 1 to 64/],
  ['keys delete k --keyring a --days 6', /--days 6 is not a number from 7 to 30/],
  ['keys delete k --keyring a --days 7.5', /--days 7.5 is not a number/],
  ['keys delete k --keyring a --days 31', /--days 31 is not a number/],
]

t.test('command lines that cannot be meant: one line, the nearest hint, exit status 2', async t => {
  for (const [line, pattern] of usageTable) {
    const result = await cli(line === '' ? [] : line.split(' '))
    oneLine(t, result, exitCodes.usage, pattern)
    t.equal(result.stdout.length, 0)
  }
  t.equal(suggestion('anything', []), undefined)
})

t.test('arguments', async t => {
  const options = {
    range: { value: 'R', help: '' },
    many: { value: 'M', many: true, help: '' },
    flag: { short: 'f', help: '' },
  } as const
  const args = parseArguments('x', options, 2, [
    '--range',
    '-5',
    'a',
    '--many=--odd',
    '-f',
    '--many',
    'b',
    '--',
    '--flag',
  ])
  t.strictSame(args.positionals, ['a', '--flag'])
  t.equal(args.text('range'), '-5')
  t.strictSame(args.list('many'), ['--odd', 'b'])
  t.equal(args.flag('flag'), true)
  const empty = parseArguments('x', options, 0, [])
  t.equal(empty.text('range'), undefined)
  t.strictSame(empty.list('many'), [])
  t.equal(empty.flag('flag'), false)
})

t.test('help and version', async t => {
  const overview = await cli(['help'])
  for (const argv of [['--help'], ['-h']]) t.strictSame(await cli(argv), overview)
  t.equal(overview.code, 0)
  for (const code of Object.values(exitCodes)) t.match(overview.stdout.toString(), new RegExp(`^ +${code} `, 'm'))
  const names = [...overview.stdout.toString().matchAll(/^ {2}([a-z-]+) {2}/gm)].map(([, name = '']) => name)
  const files = ['keys', 'root-key', 'encrypt', 'decrypt', 'inspect', 'rewrap']
  const stores = ['rewrap-objects', 'encrypt-existing', 'certify', 'check', 'backup', 'restore', 'serve']
  t.strictSame(names, [...files, ...stores])
  for (const name of names) {
    const help = await cli(['help', name])
    t.equal(help.code, 0)
    t.match(help.stdout.toString(), new RegExp(`^Usage: sse-kms ${name}`))
    t.match(help.stdout.toString(), /\nExamples:\n {2}\S/)
    t.ok(
      help.stdout
        .toString()
        .split('\n')
        .every(line => line.length <= 120),
    )
    t.strictSame(await cli([name, '--wrong', '--help']), help, 'whatever else was given')
    t.strictSame(await cli([name, '-h']), help)
  }
  const version: unknown = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
  t.match(version, { version: (await cli(['--version'])).stdout.toString().trim() })
  t.strictSame(await cli(['version']), await cli(['--version']))
  t.equal(
    (await cli(['encrypt', '--keyring', 'none', '--', '--help'])).code,
    exitCodes.failed,
    'a file may be called --help',
  )
})

t.test('the help of every command is complete', async t => {
  t.ok(commands.length > 0)
  for (const { name, summary, load } of commands) {
    const { usage, about, options, examples } = await load()
    const text = (await cli(['help', name])).stdout.toString()
    t.ok(summary.length > 10 && about.length > 0 && about.every(paragraph => paragraph.length > 40), name)
    t.ok(usage.length > 0 && examples.length > 1, `${name}: usage and examples`)
    for (const [option, { short, value, help }] of Object.entries(options)) {
      t.ok(help.length > 10 && value !== '', `${name} --${option} has a text`)
      const left = `${short === undefined ? '   ' : `-${short},`} --${option}${value === undefined ? '' : ` ${value}`} `
      t.ok(
        text.split('\n').some(line => line.startsWith(`  ${left}`) && line.includes(help)),
        `--${option} is shown`,
      )
    }
    for (const line of [...usage, ...examples]) {
      for (const [, option = ''] of line.matchAll(/(?<= |\[)--([a-z-]+)/g)) t.ok(option in options, `${name}: ${line}`)
    }
    for (const line of examples) t.match(line, `sse-kms ${name}`)
  }
})

t.test("keys of a key store of one's own", async t => {
  const { at, keyring, keys, arn, created } = await setUp(t)
  t.equal(created.code, 0)
  t.match(created.stdout.toString(), /^arn:aws:kms:local:local:key\/[0-9a-f-]{36}\n$/, 'the ARN and nothing else')
  t.match(created.stderr, /^sse-kms: made the root key .*root\.key\. Back it up/)
  t.equal(statSync(at('keys/root.key')).mode & 0o777, 0o600)

  const second = await cli(['keys', 'create', ...keys, '--json'])
  t.equal(second.stderr, '', 'said once')
  t.match(parsed(second), { state: 'enabled', origin: 'customer', aliases: [] })

  const list = (await cli(['keys', 'list', ...keys])).stdout.toString().split('\n')
  t.match(list[0], /^KEY +STATE +MADE BY +VERSION +CREATED +ALIASES$/)
  t.equal(list.length, 4)
  t.match(
    list.find(line => line.startsWith(arn)),
    /enabled {2}customer {2}1 +\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ {2}alias\/first$/,
  )
  t.match(
    list.find(line => !line.startsWith(arn) && line.startsWith('arn')),
    / -$/,
  )
  t.match(parsed(await cli(['keys', 'list', '--json', ...keys])), { length: 2 })
  t.match(parsed(await cli(['keys', 'list', '--json', '--region', 'elsewhere', ...keys])), { length: 0 })

  const say = async (...argv: readonly string[]) => (await cli(['keys', ...argv, ...keys])).stdout.toString()
  t.equal(await say('disable', 'alias/first'), `${arn} is disabled, version 1.\n`)
  oneLine(t, await cli(['encrypt', ...keys, '--key', arn]), exitCodes.failed, /is disabled/)
  t.equal(await say('enable', arn), `${arn} is enabled, version 1.\n`)
  t.equal(await say('rotate', arn.slice(arn.indexOf('/') + 1)), `${arn} is enabled, version 2.\n`)
  t.match(
    await say('delete', arn, '--days', '7'),
    /will be destroyed on \d{4}-\S+\. Everything encrypted under it is lost then\.\n$/,
  )
  t.match(await say('list'), new RegExp(`${arn} {2}pending-deletion \\(\\d{4}-`))
  t.match(parsed(await cli(['keys', 'undelete', arn, '--json', ...keys])), { keyId: arn, state: 'disabled' })
  t.match(await say('delete', arn), /will be destroyed/, 'after 30 days')

  oneLine(t, await cli(['keys', 'create', ...keys, '--alias', 'first']), exitCodes.failed, /alias\/first is taken/)
  oneLine(t, await cli(['keys', 'disable', 'nonsense', ...keys]), exitCodes.failed, /Invalid keyId 'nonsense'/)
  oneLine(t, await cli(['keys', 'list', '--keyring', at('nowhere')]), exitCodes.failed, /There is no key store in/)
  t.notOk(existsSync(at('nowhere')), 'and none was made')
  writeFileSync(join(keyring, 'root.key'), Buffer.alloc(32))
  oneLine(t, await cli(['keys', 'list', ...keys]), exitCodes.notAuthentic, /cannot be opened with this root key/)
})

t.test('a key store that lost its keys: no other key is made, and what is missing is named', async t => {
  const { at, keyring, keys, arn } = await setUp(t)
  rmSync(join(keyring, 'keys'), { recursive: true })
  for (const argv of [['encrypt'], ['keys', 'list'], ['keys', 'create']]) {
    const refused = await cli([...argv, ...keys], { stdin: 'x' })
    oneLine(t, refused, exitCodes.notAuthentic, new RegExp(`missing .*${arn}\\. Restore its folder keys from a backup`))
    t.equal(refused.stdout.length, 0)
  }
  t.notOk(existsSync(at('keys/keys')))
})

t.test('a damaged key file is named, and a root key that others may read', async t => {
  const { keyring, keys, arn } = await setUp(t)
  const file = join('keys', 'local', 'local', arn.slice(-36), '000001.json')
  writeFileSync(join(keyring, file), 'x')
  oneLine(t, await cli(['keys', 'list', ...keys]), exitCodes.notAuthentic, new RegExp(`Cause: ${file} is damaged`))
  chmodSync(join(keyring, 'root.key'), 0o644)
  const warned = await cli(['keys', 'create', ...keys])
  oneLine(t, warned, exitCodes.ok, /root\.key has mode 644: others than its owner may use it\. Run: chmod 600/)
})

t.test('root keys from elsewhere, and the key store of a server', async t => {
  const at = (name: string) => join(folder, name)
  const folder = t.testdir()
  const list = async (env: Record<string, string>, ...argv: readonly string[]) =>
    (await cli(['keys', 'list', '--json', ...argv], { env })).code
  const scope = ['--region', 'sichuan', '--domain', 'domain1']

  const made = await cli(['keys', 'create', '--data', at('data'), ...scope, '--root-key-file', at('mine.key')])
  t.match(made.stdout.toString(), /^arn:aws:kms:sichuan:domain1:key\//)
  t.match(made.stderr, /made the root key .*mine\.key/)
  t.ok(existsSync(at('data/keys/keyring.json')))
  t.equal(await list({}, '--data', at('data'), '--root-key-file', at('mine.key')), 0)
  oneLine(
    t,
    await cli(['keys', 'list', '--data', at('data')]),
    exitCodes.notAuthentic,
    /root key file .*data\/root\.key cannot be read/,
  )

  const hexKey = readFileSync(at('mine.key')).toString('hex')
  process.env['SSE_KMS_ROOT_KEY'] = hexKey
  t.teardown(() => delete process.env['SSE_KMS_ROOT_KEY'])
  t.equal(await list({ SSE_KMS_ROOT_KEY: hexKey }, '--data', at('data')), 0)

  const env = { SSE_KMS_PASSPHRASE: 'correct horse' }
  t.equal((await cli(['keys', 'create', '--keyring', at('keys')], { env })).stderr, '', 'no root key was made')
  t.match(readFileSync(at('keys/keyring.json'), 'utf8'), /"salt"/)

  const [arn = ''] = made.stdout.toString().split('\n')
  const data = ['--data', at('data'), '--root-key-file', at('mine.key')]
  t.equal((await cli(['keys', 'rotate', arn, ...data])).code, 0, 'an ARN has its scope with it')
  oneLine(t, await cli(['keys', 'rotate', arn.slice(-36), ...data]), exitCodes.failed, /Invalid keyId/)
  t.equal((await cli(['keys', 'rotate', arn.slice(-36), ...data, ...scope])).code, 0)
})

t.test('encrypt and decrypt: files and pipes, every suite', async t => {
  const { at, keys, arn } = await setUp(t)
  const data = randomBytes(300_000)
  writeFileSync(at('data'), data)
  for (const suite of ['1', '2', '3', '5']) {
    for (const file of [true, false]) {
      const sealed = at(`data.${suite}.${file}`)
      const input = file ? { argv: [at('data')] } : { argv: [], stdin: data }
      const encrypted = await cli(['encrypt', ...keys, '--suite', suite, ...input.argv, '-o', sealed], {
        stdin: input.stdin,
      })
      t.strictSame([encrypted.code, encrypted.stdout.length, encrypted.stderr], [0, 0, ''])
      t.match(parsed(await cli(['inspect', '--json', sealed])), {
        suite: { id: Number(suite) },
        descriptor: { lengthKnown: file, plaintextLength: file ? data.length : null },
        key: { keyId: arn },
      })
      const stored = readFileSync(sealed)
      t.ok((await cli(['decrypt', ...keys, sealed])).stdout.equals(data))
      t.ok((await cli(['decrypt', ...keys], { stdin: stored })).stdout.equals(data))
      t.ok((await cli(['decrypt', ...keys, '-', '-o', '-'], { stdin: stored })).stdout.equals(data), 'dashes')
      const cut = stored.subarray(0, stored.length - 1)
      const halfway = await cli(['decrypt', ...keys], { stdin: cut })
      oneLine(t, halfway, exitCodes.notAuthentic, /not authentic/)
      t.ok(data.subarray(0, halfway.stdout.length).equals(halfway.stdout), 'what left before was authentic')
    }
  }
  const encrypted = await cli(['encrypt', ...keys, at('data')])
  t.ok((await cli(['decrypt', ...keys], { stdin: encrypted.stdout })).stdout.equals(data), 'to stdout')
  const empty = await cli(['encrypt', ...keys])
  t.equal((await cli(['decrypt', ...keys], { stdin: empty.stdout })).stdout.length, 0, 'no bytes at all')
  const proc = await cli(['encrypt', ...keys, '/proc/self/stat'])
  t.match(
    (await cli(['decrypt', ...keys], { stdin: proc.stdout })).stdout.toString(),
    /^\d+ /,
    'a file that says it is empty',
  )
})

t.test('ranges, of files and pipes', async t => {
  const { at, keys } = await setUp(t)
  const data = randomBytes(200_000)
  writeFileSync(at('known'), (await cli(['encrypt', ...keys, '-'], { stdin: data })).stdout)
  writeFileSync(at('data'), data)
  await cli(['encrypt', ...keys, at('data'), '-o', at('unknown')])
  const ranges = [
    ['0-0', 0, 1],
    ['65535-65536', 65_535, 65_537],
    ['131072-', 131_072, 200_000],
    ['199999-999999', 199_999, 200_000],
    ['-1', 199_999, 200_000],
    ['-999999', 0, 200_000],
  ] as const
  for (const name of ['known', 'unknown']) {
    const stdin = readFileSync(at(name))
    for (const [range, start, end] of ranges) {
      const want = data.subarray(start, end)
      t.ok((await cli(['decrypt', ...keys, '--range', range, at(name)])).stdout.equals(want), `${name} ${range}`)
      const piped = await cli(['decrypt', ...keys, '--range', range], { stdin })
      if (range.startsWith('-') && name === 'known') {
        oneLine(t, piped, exitCodes.failed, /cannot be read from a pipe\. Name the file/)
      } else t.ok(piped.stdout.equals(want), `${name} ${range} from a pipe`)
    }
    oneLine(
      t,
      await cli(['decrypt', ...keys, '--range', '200000-', at(name)]),
      exitCodes.failed,
      /range is not satisfiable/,
    )
  }
})

t.test('which key encrypts, and which may decrypt', async t => {
  const { at, keys, arn } = await setUp(t)
  const keyOf = async (sealed: Buffer): Promise<string> =>
    /"keyId": "([^"]*)"/.exec((await cli(['inspect', '--json'], { stdin: sealed })).stdout.toString())?.[1] ?? ''
  const second = (await cli(['keys', 'create', ...keys, '--alias', 'second'])).stdout.toString().trim()
  const oldest = await cli(['encrypt', ...keys], { stdin: 'x' })
  t.equal(await keyOf(oldest.stdout), arn, 'the oldest')
  const named = await cli(['encrypt', ...keys, '--key', 'alias/second'], { stdin: 'x' })
  t.equal(await keyOf(named.stdout), second)
  await cli(['keys', 'disable', arn, ...keys])
  t.equal(await keyOf((await cli(['encrypt', ...keys])).stdout), second, 'the oldest that is enabled')
  await cli(['keys', 'disable', second, ...keys])
  const byDefault = await cli(['encrypt', ...keys], { stdin: 'y' })
  t.match(parsed(await cli(['keys', 'list', '--json', ...keys])), { length: 3 }, 'else the default key, made for it')
  t.ok(![arn, second].includes(await keyOf(byDefault.stdout)))
  t.equal(await keyOf((await cli(['encrypt', ...keys])).stdout), await keyOf(byDefault.stdout), 'once')

  oneLine(t, await cli(['decrypt', ...keys], { stdin: oldest.stdout }), exitCodes.failed, /is disabled/)
  await cli(['keys', 'enable', arn, ...keys])
  t.equal((await cli(['decrypt', ...keys, '--key', arn], { stdin: oldest.stdout })).stdout.toString(), 'x')
  const other = await cli(['decrypt', ...keys, '--key', 'alias/second'], { stdin: oldest.stdout })
  oneLine(t, other, exitCodes.notAuthentic, /under a key that was not given\. Run sse-kms inspect/)
  const elsewhere = await cli(['decrypt', ...keys, '--region', 'elsewhere'], { stdin: oldest.stdout })
  t.equal(elsewhere.code, exitCodes.notAuthentic, 'a region narrows the keys')
  oneLine(t, await cli(['encrypt', ...keys, '--key', 'alias/third']), exitCodes.failed, /alias\/third' does not exist/)

  await cli(['keys', 'create', '--keyring', at('other')])
  const foreign = await cli(['decrypt', '--keyring', at('other')], { stdin: oldest.stdout })
  oneLine(t, foreign, exitCodes.notAuthentic, /under a key that was not given/)
  t.equal(foreign.stdout.length, 0)
})

t.test("a customer's key", async t => {
  const { at, keys } = await setUp(t)
  for (const [name, size] of [
    ['right', 32],
    ['wrong', 32],
    ['short', 31],
    ['long', 33],
    ['empty', 0],
  ] as const) {
    writeFileSync(at(name), randomBytes(size))
  }
  const own = (name: string) => ['--customer-key', at(name)]
  const sealed = (await cli(['encrypt', ...own('right')], { stdin: 'mine' })).stdout
  writeFileSync(at('sealed'), sealed)
  t.equal((await cli(['decrypt', ...own('right'), at('sealed')])).stdout.toString(), 'mine')
  t.equal((await cli(['decrypt', ...own('right')], { stdin: sealed })).stdout.toString(), 'mine')
  oneLine(
    t,
    await cli(['decrypt', ...own('wrong')], { stdin: sealed }),
    exitCodes.notAuthentic,
    /Name the right --customer-key/,
  )
  for (const name of ['short', 'long', 'empty']) {
    oneLine(
      t,
      await cli(['encrypt', ...own(name)]),
      exitCodes.failed,
      /must have exactly 32 bytes\. Make one: head -c 32/,
    )
  }
  oneLine(t, await cli(['encrypt', ...own('none')]), exitCodes.failed, /ENOENT.*Name one that exists/)
  oneLine(t, await cli(['decrypt', ...keys], { stdin: sealed }), exitCodes.notAuthentic, /--customer-key/)
  for (const command of ['encrypt', 'decrypt']) {
    oneLine(
      t,
      await cli([command, ...own('right'), '--key', 'x'], { stdin: sealed }),
      exitCodes.usage,
      /--key cannot be used with --customer-key/,
    )
  }
})

t.test('encryption context', async t => {
  const { keys } = await setUp(t)
  const context = ['--context', 'project=atlas=1', '--context', 'aws:s3:arn=arn:aws:s3:::b/k']
  const sealed = (await cli(['encrypt', ...keys, ...context], { stdin: 'x' })).stdout
  const open = async (...argv: readonly string[]) => (await cli(['decrypt', ...keys, ...argv], { stdin: sealed })).code
  t.equal(await open(...context), 0)
  t.equal(await open('--context', 'aws:s3:arn=arn:aws:s3:::b/k'), 0, 'what is stored need not be given')
  t.equal(await open(), exitCodes.notAuthentic)
  t.equal(await open('--context', 'aws:s3:arn=arn:aws:s3:::b/other'), exitCodes.notAuthentic)
  t.equal(await open(...context.slice(2), '--context', 'project=other'), exitCodes.notAuthentic)
  t.match(parsed(await cli(['inspect', '--json'], { stdin: sealed })), { key: { context: { project: 'atlas=1' } } })
})

t.test('-o writes a file whole or not at all', async t => {
  const { at, folder, keys } = await setUp(t)
  const data = randomBytes(3_000_000)
  writeFileSync(at('data'), data)
  writeFileSync(at('old'), 'old')
  chmodSync(at('old'), 0o640)
  symlinkSync('old', at('link'))
  const before = readdirSync(folder)
  const sealed = (await cli(['encrypt', ...keys, at('data')])).stdout
  const damaged = Buffer.from(sealed)
  damaged[2_900_000] = (damaged[2_900_000] ?? 0) ^ 1
  const whole = (name: string, bytes: Uint8Array) => t.ok(readFileSync(at(name)).equals(bytes))

  for (const stdin of [damaged, sealed.subarray(0, -1), Buffer.concat([sealed, Buffer.from('x')])]) {
    t.equal((await cli(['decrypt', ...keys, '-o', at('old'), '--force'], { stdin })).code, exitCodes.notAuthentic)
    t.equal((await cli(['decrypt', ...keys, '-o', at('new')], { stdin })).code, exitCodes.notAuthentic)
  }
  whole('old', Buffer.from('old'))
  t.strictSame(readdirSync(folder), before, 'no new file, no temporary one')

  const controller = new AbortController()
  const endless = Readable.from(
    (async function* () {
      for (;;) {
        yield data
        setImmediate(() => controller.abort())
      }
    })(),
  )
  const aborted = await cli(['encrypt', ...keys, '-fo', at('old')], { stdin: endless, signal: controller.signal })
  oneLine(t, aborted, exitCodes.interrupted, /Interrupted\. No file was left half written/)
  whole('old', Buffer.from('old'))
  t.strictSame(readdirSync(folder), before)

  t.equal((await cli(['decrypt', ...keys, '-f', '-o', at('link')], { stdin: sealed })).code, 0)
  whole('old', data)
  t.equal(statSync(at('old')).mode & 0o777, 0o640, 'its mode stays')
  t.strictSame(readdirSync(folder), before, 'a link stays one')
  t.equal((await cli(['encrypt', ...keys, at('old'), '-o', at('old'), '-f'])).code, 0, 'over its own input')
  t.ok((await cli(['decrypt', ...keys, at('old')])).stdout.equals(data))

  t.equal((await cli(['encrypt', ...keys, at('data'), '-o', '/dev/null'])).code, 0)
  t.ok(statSync('/dev/null').isCharacterDevice())
  oneLine(
    t,
    await cli(['encrypt', ...keys, at('data'), '-o', '/dev/full']),
    exitCodes.failed,
    /ENOSPC.*Free some space/,
  )
  oneLine(t, await cli(['encrypt', ...keys, at('data'), '-o', folder]), exitCodes.failed, /EISDIR.*Name a file/)
  oneLine(
    t,
    await cli(['encrypt', ...keys, at('data'), '-o', at('no/file')]),
    exitCodes.failed,
    new RegExp(`There is no folder ${at('no')}\\. Make it, or name a file in another one with -o\\.`),
  )
  oneLine(t, await cli(['encrypt', ...keys, at('data'), '-o', at('data/file')]), exitCodes.failed, /ENOTDIR/)
  oneLine(t, await cli(['encrypt', ...keys, at('none')]), exitCodes.failed, /ENOENT/)
  oneLine(t, await cli(['decrypt', ...keys, folder]), exitCodes.failed, /EISDIR/)
})

t.test('-o replaces a file only with --force', async t => {
  const { at, folder, keys, arn } = await setUp(t)
  writeFileSync(at('old'), 'old')
  symlinkSync('nowhere', at('dangling'))
  const [stdin, before] = [(await cli(['encrypt', ...keys], { stdin: 'x' })).stdout, readdirSync(folder)]
  writeFileSync(at('sealed'), stdin)
  const lines = [
    ['encrypt', ...keys],
    ['decrypt', ...keys],
    ['rewrap', at('sealed'), ...keys, '--to', arn],
  ]
  for (const line of lines) {
    for (const name of ['old', 'dangling']) {
      const refused = await cli([...line, '-o', at(name)], { stdin })
      const message = new RegExp(`${name} exists already\\. Name another file with -o, or replace it with --force\\.`)
      oneLine(t, refused, exitCodes.failed, message)
    }
    t.equal(readFileSync(at('old'), 'utf8'), 'old')
    t.match(JSON.parse((await cli([...line, '--json', '-o', at('old')], { stdin })).stderr), { code: 'FileFailed' })
    t.equal((await cli([...line, '-o', at('old'), '--force'], { stdin })).code, 0)
    t.notSame(readFileSync(at('old'), 'utf8'), 'old')
    writeFileSync(at('old'), 'old')
  }
  const slow = Readable.from(
    (async function* () {
      yield Buffer.from('x')
      writeFileSync(at('meanwhile'), 'theirs')
    })(),
  )
  oneLine(
    t,
    await cli(['encrypt', ...keys, '-o', at('meanwhile')], { stdin: slow }),
    exitCodes.failed,
    /exists already/,
  )
  t.equal(readFileSync(at('meanwhile'), 'utf8'), 'theirs')
  t.strictSame(readdirSync(folder), [...before, 'sealed', 'meanwhile'].sort(), 'no temporary file is left')
})

t.test('an input that changes while it is read', async t => {
  const { at, keys } = await setUp(t)
  const big = Buffer.alloc(12_000_000)
  const duringWrite = (change: () => void) =>
    new Writable({
      write: (_chunk, _encoding, done) => {
        change()
        done()
      },
    })
  writeFileSync(at('data'), big)
  const grow = duringWrite(() => appendFileSync(at('data'), 'x'))
  oneLine(t, await cli(['encrypt', ...keys, at('data')], { stdout: grow }), exitCodes.failed, /changed its length/)
  writeFileSync(at('data'), big)
  const shrink = duringWrite(() => truncateSync(at('data'), 5_000_000))
  oneLine(t, await cli(['encrypt', ...keys, at('data')], { stdout: shrink }), exitCodes.failed, /changed its length/)
  writeFileSync(at('data'), big)
  await cli(['encrypt', ...keys, at('data'), '-o', at('sealed')])
  const cut = duringWrite(() => truncateSync(at('sealed'), 5_000_000))
  oneLine(t, await cli(['decrypt', ...keys, at('sealed')], { stdout: cut }), exitCodes.failed, /sealed became shorter/)
  const io: Io = {
    stdin: Readable.from([]),
    stdout: new Collector(),
    stderr: new Collector(),
    env: {},
    signal: AbortSignal.abort(),
  }
  await withInput(at('data'), io, async ({ file }) => {
    truncateSync(at('data'), 9)
    if (file === undefined) throw new Error('it is a file')
    t.equal((await file.read(0, 8)).length, 9)
    await t.rejects(file.read(0, 9), { code: 'FileFailed' })
  })
})

t.test('inspect: claims of files, envelopes, sessions and receipts', async t => {
  const { at, folder, keyring, keys, arn } = await setUp(t)
  await cli(['encrypt', ...keys, '--context', 'a=b', '-o', at('piped')], { stdin: 'hello' })
  writeFileSync(at('data'), 'hello')
  await cli(['encrypt', ...keys, at('data'), '-o', at('sealed')])
  const text = async (...argv: readonly string[]) => (await cli(['inspect', ...argv])).stdout.toString()
  const before = readdirSync(folder)

  const piped = await text(at('piped'))
  t.match(piped, /^file: unverified claims \(only sse-kms decrypt/)
  for (const pattern of [
    /suite +1 \(AEAD_AES_256_GCM, segments of 65,536 bytes\)/,
    /plaintext +not stated: it was written to a pipe/,
    /streams +77 bytes \(as long as it should be\)/,
    /length by size +5 bytes/,
    /provider +local\n/,
    /key version +1\n/,
    /wrap +2 \(local, AES-256 key wrap\), 76 bytes/,
    /context +"a" = "b"/,
    /stream +not stated, salt [0-9a-f]{48}\n/,
  ])
    t.match(piped, pattern)
  t.ok(piped.includes(`"${arn}"`))
  const sealed = await text(at('sealed'))
  t.match(sealed, /plaintext +5 bytes\n/)
  t.match(sealed, /context +no entries stored/)
  t.notMatch(sealed, /length by size/)

  const bytes = readFileSync(at('sealed'))
  t.equal((await cli(['inspect'], { stdin: bytes })).stdout.toString(), sealed, 'from a pipe')
  const long = Buffer.concat([bytes, Buffer.alloc(400_000)])
  t.match((await cli(['inspect'], { stdin: long })).stdout.toString(), /streams +unknown \(not read to the end\)/)
  t.match(parsed(await cli(['inspect', '--json'], { stdin: long })), {
    verified: false,
    file: { heldLength: null, complete: null },
  })
  t.match((await cli(['inspect'], { stdin: bytes.subarray(0, -1) })).stdout.toString(), /NOT as long as it should be/)
  const cut = await cli(['inspect', '--json'], { stdin: readFileSync(at('piped')).subarray(0, -10) })
  t.match(parsed(cut), { file: { complete: false, plaintextLength: null } })

  const kms = await LocalKms.open(keyring, { root: { file: join(keyring, 'root.key') } })
  t.teardown(() => kms.close())
  const sse = createSse({ kms, accept: [arn] })
  const { session, uploadId } = await sse.createUpload()
  const upload = { session, uploadId }
  const receipts: Uint8Array[] = []
  const named: { part: number; etag: string }[] = []
  for (let part = 1; part <= 12; part++) {
    const encryption = await sse.encryptPart(upload, part, { values: () => new Map([[2, new Uint8Array(4)]]) })
    encryption.stream.resume().end('x')
    await once(encryption.stream, 'close')
    const done = encryption.result()
    receipts.push(done.receipt)
    named.push({ part, etag: done.etag })
  }
  const { envelope } = await sse.completeUpload(upload, named, receipts)
  const ofEnvelope = await text('--envelope', base64url(envelope))
  t.match(ofEnvelope, /^envelope: /)
  t.match(ofEnvelope, /part 10 +1 bytes, salt/)
  t.match(ofEnvelope, /… +2 more parts: see --json/)
  t.match(parsed(await cli(['inspect', '--json', '--envelope', base64url(envelope)])), { parts: { length: 12 } })
  t.match(await text('--envelope', base64url(session)), /^session: [^\n]*\n +suite[^\n]*\n +body id[^\n]*\n +provider/)
  t.match(
    await text('--envelope', base64url(receipts[2] ?? none)),
    /^receipt: [^\n]*\n +part 3 +1 bytes, salt [0-9a-f]+\n +sealed values +35 bytes\n$/,
  )

  const { record, descriptor, table } = parseEnvelope(envelope)
  const context = encryptionContext()
  const key = new DataKey(new Uint8Array(32))
  const nested = encodeRecord(await wrapNested(nodeEngine, 3, key, record.wrapped, key, context), context.stored)
  const bucketKey = await cli(['inspect', '--envelope', base64url(encodeEnvelope(nested, descriptor.bytes, table))])
  t.match(bucketKey.stdout.toString(), /key version +1\n +wrap +3 \(under a bucket key\)/)
  const hostile = { provider: 'aws-kms', keyId: 'arn\u001b[2J\u0085\u202e', wrapAlg: 1, blob: Buffer.alloc(9) } as const
  const evil = encryptionContext({ 'line\nbreak': '\u0007\ufeff' })
  const session2 = encodeSession({
    suite: descriptor.suite,
    bodyId: descriptor.bodyId,
    record: encodeRecord(hostile, evil.stored),
  })
  const shown = await text('--envelope', base64url(session2))
  t.notMatch(shown, /[^\n\u0020-\u007e]/, 'nothing that commands a terminal')
  t.match(shown, /master key +"arn\\u001b\[2J\\u0085\\u202e"/)
  t.notMatch(shown, /key version/)
  const asJson = await cli(['inspect', '--json', '--envelope', base64url(session2)])
  t.notMatch(asJson.stdout.toString(), /[^\n\u0020-\u007e]/, 'nor in JSON')
  t.match(parsed(asJson), { key: { keyId: hostile.keyId, context: { 'line\nbreak': '\u0007\ufeff' } } })
  t.equal(printableJson('ä"€😀'), '"ä\\"€😀"')
  t.equal(printable('a\u2028\u{e0001}'), String.raw`a\u2028\udb40\udc01`)
  const customer = await cli(['inspect'], {
    stdin: (await cli(['encrypt', '--customer-key', at('keys/root.key')])).stdout,
  })
  t.match(customer.stdout.toString(), /master key +none stored: a key of the customer/)
  const ofCustomer = await sse.createUpload({ customerKey: new Uint8Array(32), service: {} })
  t.match(
    await text('--envelope', base64url(ofCustomer.session)),
    /master key +none stored: a key of the customer\n[^]* completion keys: master key +"arn:/,
  )
  const bare = encodeReceipt({ row: { part: 1, length: 0, salt: new Uint8Array(24) }, values: none })
  t.match(await text('--envelope', base64url(bare)), /sealed values +0 bytes/)

  for (const stdin of [
    none,
    Buffer.from('SKF'),
    Buffer.from('SKF1'),
    bytes.subarray(0, 100),
    Buffer.from('hello world'),
    Buffer.alloc(400_000),
  ]) {
    oneLine(
      t,
      await cli(['inspect'], { stdin }),
      exitCodes.notAuthentic,
      /This is not an encrypted file, envelope, session or receipt/,
    )
  }
  oneLine(t, await cli(['inspect', at('none')]), exitCodes.failed, /ENOENT/)
  t.strictSame(readdirSync(folder), before)
})

t.test('rewrap', async t => {
  const { at, folder, keys, arn } = await setUp(t)
  const data = randomBytes(2_500_000)
  writeFileSync(at('data'), data)
  await cli(['encrypt', ...keys, '--context', 'aws:x=1', '--context', 'p=q', at('data'), '-o', at('known')])
  await cli(['encrypt', ...keys, '--context', 'aws:x=1', '-o', at('unknown')], { stdin: data })
  const second = (await cli(['keys', 'create', ...keys, '--alias', 'second'])).stdout.toString().trim()
  const claims = async (name: string) => parsed(await cli(['inspect', '--json', at(name)]))
  const bound = ['--context', 'aws:x=1']
  for (const name of ['known', 'unknown']) {
    const tail = readFileSync(at(name)).subarray(-2_000_000)
    const copied = await cli(['rewrap', at(name), ...keys, ...bound, '--to', 'alias/second', '-fo', at('copy')])
    t.strictSame([copied.code, copied.stderr], [0, ''])
    t.match(await claims(name), { key: { keyId: arn } }, 'the file itself stays with -o')
    t.match(await claims('copy'), { key: { keyId: second } })
    t.equal((await cli(['rewrap', at(name), ...keys, ...bound, '--to', second])).code, 0)
    t.match(await claims(name), { key: { keyId: second } })
    t.ok(readFileSync(at(name)).subarray(-2_000_000).equals(tail), 'the same bytes')
    t.ok((await cli(['decrypt', ...keys, ...bound, '--key', second, at(name)])).stdout.equals(data))
  }
  t.match(await claims('known'), { key: { context: { p: 'q' } } })
  await cli(['keys', 'rotate', second, ...keys])
  await cli(['rewrap', at('known'), ...keys, ...bound, '--to', second])
  t.match(await claims('known'), { key: { keyId: second, keyVersion: 2 } }, 'the newest version')

  const good = readFileSync(at('known'))
  const before = readdirSync(folder)
  oneLine(t, await cli(['rewrap', at('known'), ...keys, '--to', arn]), exitCodes.notAuthentic, /not authentic/)
  oneLine(
    t,
    await cli(['rewrap', at('known'), ...keys, ...bound, '--to', 'alias/none']),
    exitCodes.failed,
    /does not exist/,
  )
  oneLine(
    t,
    await cli(['rewrap', '/dev/null', ...keys, '--to', arn]),
    exitCodes.usage,
    /\/dev\/null is not a regular file/,
  )
  t.ok(readFileSync(at('known')).equals(good))
  for (const bytes of [good.subarray(0, -1), good.subarray(0, 400), Buffer.concat([good, none, Buffer.from('x')])]) {
    writeFileSync(at('known'), bytes)
    t.equal((await cli(['rewrap', at('known'), ...keys, ...bound, '--to', arn])).code, exitCodes.notAuthentic)
    t.ok(readFileSync(at('known')).equals(bytes), 'what is damaged stays as it is')
  }
  t.strictSame(readdirSync(folder), before)
})

t.test('terminals', async t => {
  const { at, keys } = await setUp(t)
  const screen = () => new Collector(true)
  const options = { stdin: 'x' }
  const refused = await cli(['encrypt', ...keys], { ...options, stdout: screen() })
  oneLine(t, refused, exitCodes.usage, /stdout is a terminal\. Name a file with -o FILE, or force it with -o -\./)
  t.equal(refused.stdout.length, 0)
  t.match(
    (await cli(['encrypt', ...keys, '-o', '-'], { ...options, stdout: screen() })).stdout.toString('latin1'),
    /^SKF1/,
  )
  const show = async (text: string, ...argv: readonly string[]) => {
    const stdin = (await cli(['encrypt', ...keys], { stdin: text })).stdout
    return cli(['decrypt', ...keys, ...argv], { stdin, stdout: screen(), stderr: screen() })
  }
  t.equal((await show('Grüße\t\r\n')).stdout.toString(), 'Grüße\t\r\n')
  for (const text of ['\u001b[2J', 'a\u0000', '\u007f']) {
    oneLine(t, await show(text), exitCodes.usage, /this is binary, and stdout is a terminal/)
    t.equal((await show(text, '-o', '-')).stdout.toString(), text)
  }
  const quick = await cli(['encrypt', ...keys, '-o', at('x')], { stdin: 'x', stderr: screen() })
  t.equal(quick.stderr, '', 'short input shows no bar')
  const slow = Readable.from(
    (async function* () {
      yield Buffer.alloc(1_000_000)
      await pause(1000)
      yield Buffer.alloc(1_000_000)
    })(),
  )
  const bar = await cli(['encrypt', ...keys, '-fo', at('x')], { stdin: slow, stderr: screen() })
  t.match(bar.stderr, /976\.6 KiB \| .*\/s \| 0:01/)
  t.equal(bar.code, 0)
})

t.test('the progress bar', async t => {
  t.strictSame([0, 1023, 1024, 1536, 2 ** 40, 2 ** 60].map(formatBytes), [
    '0 B',
    '1023 B',
    '1.0 KiB',
    '1.5 KiB',
    '1.0 TiB',
    '1024.0 PiB',
  ])
  t.strictSame([0, 9.1, 60, 3661].map(formatTime), ['0:00', '0:10', '1:00', '1:01:01'])
  t.equal(describe(1024, 4096, 1), '1.0 KiB of 4.0 KiB | 1.0 KiB/s | 0:03 left')
  t.equal(describe(0, 4096, 0), '0 B of 4.0 KiB | 0 B/s | ? left')
  t.equal(describe(2048, undefined, 61), '2.0 KiB | 34 B/s | 1:01')

  const stderr = new Collector(true)
  const io: Io = {
    stdin: Readable.from([]),
    stdout: new Collector(),
    stderr,
    env: {},
    signal: new AbortController().signal,
  }
  const shown = progress(io, 2_000_000, { visible: true, after: 0 })
  shown.stream.resume().write(Buffer.alloc(1_000_000))
  while (!/976\.6 KiB of 1\.9 MiB .* left/.test(stderr.text)) await pause(20)
  t.match(stderr.text, / 0% \|/)
  shown.stop()
  t.match(stderr.text, / 50% \|/, 'drawn once more at the end')
  const { length } = stderr.text
  await pause(300)
  t.equal(stderr.text.length, length, 'and never again')

  const silent = new Collector(true)
  const missing = progress({ ...io, stderr: silent }, 1, {
    visible: true,
    after: 0,
    load: () => Promise.reject(new Error()),
  })
  const loaded = new EventEmitter()
  const late = progress({ ...io, stderr: silent }, 1, {
    visible: true,
    after: 0,
    load: async () => {
      loaded.emit('asked')
      await once(loaded, 'go')
      return import('cli-progress')
    },
  })
  await once(loaded, 'asked')
  late.stop()
  loaded.emit('go')
  await pause(50)
  missing.stop()
  t.equal(silent.text, '', 'no bar without the package, or when all is over before it is loaded')
})

t.test('failures in words', async t => {
  const system = (code: string) => Object.assign(new Error(`${code}: what, open 'x'`), { code, syscall: 'open' })
  const of = (error: unknown, interrupted = false) => failureOf(error, interrupted)
  t.strictSame(of(system('EACCES')), {
    code: 'FileFailed',
    message: "EACCES: what, open 'x'. Ask for the permission, or name another path.",
    exitCode: 1,
  })
  t.match(of(system('EMFILE')).message, /Check the file system/)
  t.strictSame(of(system('EPIPE')), { code: 'BrokenPipe', message: '', exitCode: 141 })
  t.match(of(new SseError('KmsUnavailable', { cause: system('EIO') })).message, /Cause: EIO: what/)
  t.notMatch(of(new SseError('NotAuthentic', { cause: new Error('detail') })).message, /detail/)
  t.equal(
    of(new SseError('NotAuthentic', { message: 'Own\nwords.\u001b[2J' })).message,
    String.raw`Own words.\u001b[2J`,
    'one line, no commands',
  )
  t.match(of(new Error("Cannot find package 'zod' imported from /x")), {
    code: 'MissingPeer',
    message: /npm install zod$/,
    exitCode: 1,
  })
  t.match(of(new TypeError('bug')), { code: 'InternalError', message: /^Internal error: bug\. Report it/ })
  t.match(of('text'), { code: 'InternalError', message: /Internal error: text/ })
  const abort = Object.assign(new Error(), { name: 'AbortError' })
  t.equal(of(abort, true).exitCode, 130)
  t.equal(of(abort).code, 'InternalError', 'nobody asked for it')

  const asJson = await cli(['decrypt', '--keyring', 'none', '--json'], { stdin: 'x' })
  t.match(JSON.parse(asJson.stderr), { code: 'FileFailed', message: /There is no key store/ })
  t.match(JSON.parse((await cli(['nope', '--json'])).stderr), { code: 'InvalidUsage', message: /unknown command/ })
  t.match((await cli(['nope', '--', '--json'])).stderr, /^sse-kms: /)
  const broken = new Writable({ write: (_chunk, _encoding, done) => done(system('EPIPE')) })
  t.strictSame(await cli(['help'], { stdout: broken }), { code: exitCodes.brokenPipe, stdout: none, stderr: '' })
  const stderr = new Collector()
  stderr._write = (_chunk, _encoding, done) => done(system('EPIPE'))
  stderr.on('error', () => undefined)
  t.equal((await cli(['nope'], { stderr })).code, exitCodes.usage, 'nobody is there to read it')
})

t.test('signals: the first asks, then nobody listens any more', async t => {
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    const process = new EventEmitter()
    const { signal } = interruptsOf(process)
    t.equal(signal.aborted, false)
    process.emit(name)
    t.equal(signal.aborted, true)
    t.strictSame(process.eventNames(), [])
  }
  const process = new EventEmitter()
  const { signal, onHangup } = interruptsOf(process)
  let hangups = 0
  onHangup(() => hangups++)
  process.emit('SIGHUP')
  process.emit('SIGHUP')
  t.strictSame([hangups, signal.aborted], [2, false], 'a server takes SIGHUP for something else')
})

t.test('processes: pipes, their ends, and signals', async t => {
  const { at, folder, keys } = await setUp(t)
  const piped = await ended(
    shell(
      'head -c 3000000 /dev/zero | sse-kms encrypt --keyring keys | sse-kms decrypt --keyring keys | cmp - <(head -c 3000000 /dev/zero)',
      folder,
    ),
  )
  t.strictSame([piped.code, piped.stderr], [0, ''])
  const closed = await ended(
    shell('sse-kms encrypt --keyring keys /dev/zero | head -c 4; echo "${PIPESTATUS[0]}"', folder),
  )
  t.strictSame(
    [closed.stdout.toString(), closed.stderr],
    ['SKF1141\n', ''],
    'a reader that has enough is no failure to talk about',
  )
  const substituted = await ended(
    shell('sse-kms encrypt --keyring keys <(echo hi) | sse-kms decrypt --keyring keys /dev/stdin', folder),
  )
  t.equal(substituted.stdout.toString(), 'hi\n', 'files that are pipes')

  writeFileSync(at('old'), 'old')
  const before = readdirSync(folder)
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    const child = start(['encrypt', ...keys, '-fo', at('old')])
    child.stdin?.write(Buffer.alloc(100_000))
    while (readdirSync(folder).length === before.length) await pause(20)
    child.kill(name)
    const { code, stderr } = await ended(child)
    t.strictSame([code, stderr], [exitCodes.interrupted, 'sse-kms: Interrupted. No file was left half written.\n'])
    t.equal(readFileSync(at('old'), 'utf8'), 'old')
    t.strictSame(readdirSync(folder), before)
  }
  const stuck = start(['encrypt', ...keys, '/dev/zero'])
  await once(stuck.stdout ?? stuck, 'readable')
  await pause(200)
  stuck.kill('SIGTERM')
  await once(stuck, 'exit')
  t.equal(stuck.exitCode, exitCodes.interrupted, 'though nobody reads on')
  stuck.stdout?.destroy()

  await ended(shell('mkfifo fifo', folder))
  const waiting = start(['encrypt', ...keys, at('fifo')])
  const end = ended(waiting)
  const heeds = () => /^SigCgt:.*[13579bdf]$/m.test(readFileSync(`/proc/${waiting.pid}/status`, 'utf8')) // SIGHUP, the lowest bit
  while (!heeds()) await pause(20)
  waiting.kill('SIGTERM')
  while (heeds()) await pause(20)
  await pause(200)
  t.equal(waiting.signalCode, null, 'the system holds it')
  waiting.kill('SIGTERM')
  t.equal((await end).signal, 'SIGTERM', 'a second signal ends it at once')
})

t.test('a progress bar on a real terminal', async t => {
  const { folder } = await setUp(t)
  const script =
    '(head -c 1000000 /dev/zero; sleep 1.2; head -c 1000000 /dev/zero) | sse-kms encrypt --keyring keys > out'
  const child = terminal(script, folder)
  const { code, stdout } = await ended(child)
  t.equal(code, 0)
  t.match(stdout.toString(), /976\.6 KiB \| .*\/s/)
  t.equal((await cli(['decrypt', '--keyring', join(folder, 'keys'), join(folder, 'out')])).stdout.length, 2_000_000)
})

t.test('an installation without optional packages', async t => {
  const folder = mkdtempSync(join(tmpdir(), 'sse-kms-')) // not below the project, whose packages would be found
  t.teardown(() => rmSync(folder, { recursive: true }))
  const root = fileURLToPath(new URL('../..', import.meta.url))
  const top = main.slice(root.length).split('/')[0] ?? ''
  cpSync(join(root, top), join(folder, top), { recursive: true })
  cpSync(join(root, 'package.json'), join(folder, 'package.json'))
  mkdirSync(join(folder, 'node_modules'))
  for (const name of ['@noble', 'stream-chain'])
    symlinkSync(join(root, 'node_modules', name), join(folder, 'node_modules', name))
  const copy = join(folder, main.slice(root.length))
  const at = (argv: readonly string[]) => ended(start(argv, copy, folder))
  t.equal((await at(['keys', 'create', '--keyring', 'keys'])).code, 0)
  const served = await at(['serve'])
  t.equal(served.code, exitCodes.failed)
  const [, line = ''] =
    /^sse-kms: This needs \d+ packages that are not installed\. Run: npm install (.+)\n$/.exec(served.stderr) ?? []
  t.strictSame(line.split(' '), gatewayPackages, 'all at once')
  const schema = await at(['serve', '--print-schema'])
  t.strictSame(
    [schema.code, schema.stderr],
    [1, 'sse-kms: This needs the package zod, which is not installed. Run: npm install zod\n'],
  )
  t.match((await at(['help', 'serve'])).stdout.toString(), /^Usage: sse-kms serve/)
  const child = await ended(
    terminal('(head -c 9 /dev/zero; sleep 1) | sse-kms encrypt --keyring keys -o out', folder, copy),
  )
  t.strictSame([child.code, child.stdout.toString()], [0, ''], 'everything but the bar works')
  t.equal((await at(['decrypt', '--keyring', 'keys', 'out'])).stdout.length, 9)

  mkdirSync(join(folder, 'node_modules/@aws-sdk'))
  for (const name of gatewayPackages) {
    t.match((await at(['serve'])).stderr, new RegExp(`npm install .*${name}`), `${name} is missing`)
    symlinkSync(join(root, 'node_modules', name), join(folder, 'node_modules', name))
  }
  const gateway = start(['serve', '--listen', '127.0.0.1:0', '--log', 'none'], copy, folder)
  gateway.stdout?.once('data', () => gateway.kill('SIGTERM'))
  const { code, stdout } = await ended(gateway)
  t.match(stdout.toString(), /^sse-kms listens on /, 'and nothing else is needed')
  t.equal(code, 0)
})

t.test('the program itself, through the loader of the tests', async t => {
  const { code, stdout, stderr } = await ended(start(['--version'], source))
  t.strictSame([code, stderr], [0, ''])
  t.match(stdout.toString(), /^\d+\.\d+\.\d+\n$/)
})
