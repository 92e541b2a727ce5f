/**
 * `npm run recipes`: the README's server and every recipe of `docs/recipes` as a reader gets them, from the packed tarball. Exit status 1 where one
 * fails.
 *
 * A recipe is a page `docs/recipes/NAME.md` and a folder `docs/recipes/NAME/`:
 *
 * - `package.json`: `private`, `type: module`, `description` for the index, `dependencies` with their majors pinned, `devDependencies` for
 *   types. Every package that the program imports is named.
 * - the program: JavaScript that runs on Node 20.19 as it is. The page shows it: `<!-- docs/recipes/NAME/FILE -->` in front of a block, which
 *   `DOCS_WRITE=1 npx tap test/docs.test.ts` fills.
 * - `server.js` makes it a server: it serves PUT and GET on `PORT`, writes to the folder `DATA` alone, and is held to the course for servers
 *   (`course.ts`).
 * - `check.ts` makes it a program with its own check. It runs in the folder of the recipe with tsx, `DATA` an empty folder and `REPOSITORY` the root of
 *   this repository in its environment, within 60 seconds. It prints `ok WHAT` for each check, or `skip WHY` where the machine lacks something,
 *   and exits with another status than 0 where a check fails. It is not part of the package.
 *
 * All of them are workspaces of one fresh folder, so that one `npm install` does for all: packages that several name are installed once.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { machine } from '../page.ts'
import { type Checked, runCourse } from './course.ts'
import { type Recipe, recipes } from './folders.ts'
import { checkTypes, installRecipes, undeclared } from './install.ts'
import { runOwnCheck } from './own-check.ts'
import { startServer } from './serving.ts'

const help = `npm run recipes -- [options]

Runs the README's server and the recipes of docs/recipes in a fresh folder outside of the repository, on the tarball that npm pack makes and the
packages that they name, from the registry of npm. Servers are held to one course, programs to their own check.

  --only NAME    this recipe alone, or several: NAME,NAME
  --json         the result for machines
  --keep         leaves the fresh folder, and says where it is
  --help         this
`

/** What became of a recipe. */
interface Result {
  readonly recipe: string
  readonly kind: Recipe['kind']
  readonly lines: number
  readonly serving: number | undefined
  readonly checks: readonly Checked[]
  readonly seconds: number
  readonly passed: boolean
}

/** The server of the README, word for word: what is in front of readers, not the file that it is made from. */
const readmeServer = (all: readonly Recipe[]): Recipe | undefined => {
  const source = all.find(({ name }) => name === 'node-http')
  return source && { ...source, name: 'README' }
}

const writeReadme = (folder: string): void => {
  const readme = readFileSync(fileURLToPath(new URL('../../../README.md', import.meta.url)), 'utf8')
  const [, code] = /^<!-- docs\/recipes\/node-http\/server\.js -->\n+```js\n(.*?)^```$/ms.exec(readme) ?? []
  if (code === undefined) throw new Error('README.md shows no server')
  writeFileSync(join(folder, 'server.js'), code)
}

const runOne = async (recipe: Recipe, folder: string): Promise<readonly Checked[]> => {
  const missing = undeclared(recipe).map(name => ({ name: 'package.json', failure: `it does not name ${name}` }))
  const data = join(folder, 'data')
  if (recipe.kind === 'program') return [...missing, ...(await runOwnCheck(folder, data))]
  const server = await startServer(folder, data)
  try {
    return [...missing, ...(await runCourse(server))]
  } finally {
    await server.stop()
  }
}

const failed = (error: unknown): readonly Checked[] => [
  { name: 'start', failure: error instanceof Error ? error.message : String(error) },
]

const table = (results: readonly Result[]): string => {
  const rows = results.map(({ recipe, kind, lines, serving, checks, seconds, passed }) => {
    const skipped = checks.filter(check => check.skipped !== undefined).length
    const made = checks.filter(check => check.failure === undefined && check.skipped === undefined).length
    return [
      recipe,
      kind,
      `${lines}${serving === undefined ? '' : `, ${serving} of them serve`}`,
      `${made} of ${checks.length}${skipped === 0 ? '' : `, ${skipped} skipped`}`,
      seconds.toFixed(1),
      passed ? 'passed' : 'FAILED',
    ]
  })
  return [['recipe', 'kind', 'lines', 'checks', 'seconds', ''], ['---', '---', '---', '---', '---', '---'], ...rows]
    .map(cells => `| ${cells.join(' | ')} |\n`)
    .join('')
}

const chosen = (only: string | undefined): readonly Recipe[] => {
  const every = recipes()
  const readme = readmeServer(every)
  const all = readme === undefined ? every : [readme, ...every]
  if (only === undefined) return all
  return only.split(',').map(name => {
    const found = all.find(each => each.name === name.trim())
    if (found === undefined) {
      throw new RangeError(`--only: there is no recipe ${name}; there are ${all.map(each => each.name).join(', ')}`)
    }
    return found
  })
}

const main = async (): Promise<void> => {
  const { values } = parseArgs({
    options: {
      only: { type: 'string' },
      json: { type: 'boolean', default: false },
      keep: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return void process.stdout.write(help)
  const say = (line: string): void => void process.stderr.write(`${line}\n`)
  const all = chosen(values.only)
  const start = Date.now()
  const folder = await installRecipes(all)
  try {
    if (all.some(({ name }) => name === 'README')) writeReadme(join(folder, 'README'))
    say(`installed after ${Math.round((Date.now() - start) / 1000)} s`)
    await checkTypes(folder, all)
    say(`types checked after ${Math.round((Date.now() - start) / 1000)} s`)
    const results: Result[] = []
    for (const recipe of all) {
      const begun = Date.now()
      const checks = await runOne(recipe, join(folder, recipe.name)).catch(failed)
      const seconds = (Date.now() - begun) / 1000
      const passed = checks.every(({ failure }) => failure === undefined)
      const { name, kind, lines, serving } = recipe
      results.push({ recipe: name, kind, lines, serving, checks, seconds, passed })
      for (const { name: check, failure, skipped } of checks) {
        if (failure !== undefined) say(`${name}: ${check}: ${failure}`)
        if (skipped !== undefined) say(`${name}: ${check}: skipped, ${skipped}`)
      }
    }
    const shown = values.json
      ? `${JSON.stringify({ machine: machine(), results }, undefined, 2)}\n`
      : `${table(results)}\n${machine()}.\n`
    process.stdout.write(shown)
    if (results.some(({ passed }) => !passed)) process.exitCode = 1
  } finally {
    if (values.keep) say(`the folder: ${folder}`)
    else rmSync(folder, { recursive: true })
  }
}

try {
  await main()
} catch (error) {
  process.stderr.write(`npm run recipes: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
}
