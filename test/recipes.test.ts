/**
 * The course for servers, on the README's server as it is built here; and on servers with a fault each, which it has to find. `npm run recipes`
 * runs it on all recipes, from the packed tarball and with the frameworks.
 */
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { type Checked, checkNames, runCourse } from './support/recipes/course.ts'
import { recipes, recipesFolder } from './support/recipes/folders.ts'
import { undeclared } from './support/recipes/install.ts'
import { runOwnCheck } from './support/recipes/own-check.ts'
import { startServer } from './support/recipes/serving.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const program = readFileSync(join(recipesFolder, 'node-http/server.js'), 'utf8')

const directory = t.testdir({ node_modules: {} })
symlinkSync(root, join(directory, 'node_modules/sse-kms-streams'))

const courseOf = async (name: string, code: string, checks = checkNames): Promise<readonly Checked[]> => {
  const folder = join(directory, name)
  mkdirSync(folder)
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
  writeFileSync(join(folder, 'server.js'), code)
  const server = await startServer(folder, join(folder, 'data'))
  try {
    return await runCourse(server, checks)
  } finally {
    await server.stop()
  }
}

const failed = (checks: readonly Checked[]): readonly string[] =>
  checks.flatMap(({ name, failure }) => (failure === undefined ? [] : [name]))

t.test('the README’s server passes the course', async t => {
  const checks = await courseOf('good', program)
  t.equal(checks.length, checkNames.length)
  t.strictSame(
    checks.filter(({ failure }) => failure !== undefined),
    [],
  )
})

/** The program with one text in the place of another, and the checks that have to find it. */
interface Fault {
  readonly from: string
  readonly to: string
  readonly found: readonly string[]
}

const pour = 'await pipeline(answer.stream, res)'
const put = 'files.put(path, req)'
const get = 'files.get(path, req.headers)'
const aborted = 'a put that is aborted leaves the old object, and nothing else'

const faults: Readonly<Record<string, Fault>> = {
  'a failure ends the answer cleanly': {
    from: `res.writeHead(answer.status, answer.headers)\n    ${pour}`,
    to: "res.writeHead(answer.status); answer.stream.on('error', () => res.end()).pipe(res)",
    found: ['a changed body never ends cleanly', 'put, get', 'HEAD'],
  },
  'a failure leaves the client waiting': {
    from: pour,
    to: "answer.stream.on('error', () => {}).pipe(res)",
    found: ['a changed body never ends cleanly'],
  },
  'files stay open': {
    from: pour,
    to: "answer.stream.on('error', () => res.destroy()).pipe(res)",
    found: ['a client that leaves in the middle of a get', 'no file is left open'],
  },
  'an aborted body passes for a whole one': {
    from: put,
    to: 'files.put(path, (async function* () { try { yield* req } catch {} })())',
    found: [aborted],
  },
  'something stays of an aborted put': {
    from: 'console.error(',
    to: "process.getBuiltinModule('node:fs').writeFileSync(`${data}/objects/left`, ''); console.error(",
    found: [aborted],
  },
  'the plaintext is on the disk': {
    from: put,
    to: `files.put(path, (async function* () {
      const { appendFileSync } = await import('node:fs')
      for await (const chunk of req) yield (appendFileSync(data + '/plain', chunk), chunk)
    })())`,
    found: ['put, get'],
  },
  'large bodies are refused': {
    from: put,
    to: "files.put(path, req, { length: Math.min(req.headers['content-length'] ?? 0, 1 << 20) })",
    found: ['5 MiB', 'a body whose length is not declared'],
  },
  'one put at a time': {
    from: put,
    to: `(globalThis.busy ? Promise.reject(new Error('busy')) : (globalThis.busy = files.put(path, req).finally(() => {
      globalThis.busy = undefined
    })))`,
    found: ['three puts at once'],
  },
  'a put is not done': {
    from: put,
    to: 'files.put(path, req.resume().on("end", () => {}) && [])',
    found: ['put again: another ETag', 'bodies of any type'],
  },
  'ranges are not heeded': {
    from: get,
    to: 'files.get(path)',
    found: ['ranges', 'suffix range', '416', 'If-Range'],
  },
  'a range is heeded for every object': {
    from: get,
    to: 'files.get(path, { range: req.headers.range })',
    found: ['If-Range'],
  },
  'the first of several ranges is answered': {
    from: get,
    to: "files.get(path, { range: req.headers.range?.split(',')[0] })",
    found: ['several ranges: the whole object'],
  },
  'the client is told everything': {
    from: 'errorAnswer(error)',
    to: '{ status: 500, headers: {}, body: String(Object(error).stack) }',
    found: ['404', '416', 'a changed envelope is refused'],
  },
  'objects are not bound to their names': {
    from: "({ 'aws:s3:arn': `arn:aws:s3:::bucket${path}` })",
    to: '({})',
    found: ['a file in the place of another one is refused'],
  },
  'names differ in case alone': {
    from: "url: path = '/' } = req",
    to: "} = req, path = (req.url ?? '/').toLowerCase()",
    found: ['names that are no names of files'],
  },
  'an empty body is refused': {
    from: put,
    to: "(req.headers['content-length'] === '0' ? Promise.reject(new Error('empty')) : files.put(path, req))",
    found: ['an empty body'],
  },
}

t.test('the course finds servers with a fault', async t => {
  t.strictSame(
    checkNames.filter(name => !Object.values(faults).some(({ found }) => found.includes(name))),
    [],
    'there is a fault for every check',
  )
  const queue = Object.entries(faults)
  const worker = async (): Promise<void> => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      const [name, { from, to, found }] = next
      t.equal(program.split(from).length, 2, `${name}: the program has its text`)
      const checks = await courseOf(
        name,
        program.replace(from, () => to),
        found,
      )
      t.strictSame(
        failed(checks),
        checkNames.filter(each => found.includes(each)),
        name,
      )
    }
  }
  await Promise.all([worker(), worker(), worker(), worker()])
})

t.test('the check that a program brings along', async t => {
  const run = (name: string, code: string): Promise<readonly Checked[]> => {
    const folder = join(directory, name)
    mkdirSync(folder)
    writeFileSync(join(folder, 'check.ts'), code)
    return runOwnCheck(folder, join(folder, 'data'))
  }
  const passing = "const what: string = process.env['DATA'] ? 'it has a folder' : ''\nconsole.log(`ok ${what}`)"
  t.strictSame(await run('passing', passing), [{ name: 'it has a folder' }])
  t.strictSame(await run('skipping', "console.log('skip there is no browser')"), [
    { name: 'check.ts', skipped: 'there is no browser' },
  ])
  t.match(await run('silent', ''), [{ failure: /^it checked nothing/ }])
  t.match(await run('throwing', "console.log('ok one')\nthrow new Error('two')"), [
    { name: 'one' },
    { name: 'check.ts', failure: /^it ended with 1:[^]*two/ },
  ])
})

t.test('packages that a recipe imports are named in its package.json', async t => {
  const folder = t.testdir({
    'server.js':
      "import 'koffi'\nimport { x } from '@hono/node-server/x'\nimport { y } from 'sse-kms-streams/files'\nimport 'node:fs'\nimport './z.js'",
  })
  const manifest = { description: '', dependencies: { 'sse-kms-streams': '*' } }
  const recipe = { name: '', folder, kind: 'server', manifest, program: ['server.js'], lines: 5, serving: 0 } as const
  t.strictSame(undeclared(recipe), ['koffi', '@hono/node-server'])
})

t.test('every recipe has a page that shows its program', async t => {
  const pages = readdirSync(recipesFolder).filter(name => name.endsWith('.md'))
  t.strictSame(
    pages.sort(),
    recipes()
      .map(({ name }) => `${name}.md`)
      .sort(),
  )
  for (const { name, program, manifest } of recipes()) {
    const page = readFileSync(join(recipesFolder, `${name}.md`), 'utf8')
    for (const file of program) t.ok(page.includes(`<!-- docs/recipes/${name}/${file} -->`), `${name}: ${file}`)
    for (const [dependency, range] of Object.entries(manifest.dependencies)) t.match(range, /^\^\d/, dependency)
  }
})
