/** The site that `npm run docs` makes: its navigation, its search, the names of parameters, and that nothing is wider than the screen. */
import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { inflateSync } from 'node:zlib'
import t from 'tap'
import { noChromium, openBrowser } from './support/chromium.ts'

const site = t.testdir()
const root = join(import.meta.dirname, '..')
const typedoc = join(root, 'node_modules/typedoc/bin/typedoc')
await promisify(execFile)(process.execPath, [typedoc, '--out', site], { cwd: root })
const filesOf = (folder: string, extension: string): readonly string[] =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter(name => name.endsWith(extension))

/** What a script of the site holds: JSON, deflated. */
const dataOf = (name: string): string => {
  const [, packed = ''] = /"([^"]+)"/.exec(readFileSync(join(site, 'assets', name), 'utf8')) ?? []
  return inflateSync(Buffer.from(packed, 'base64')).toString()
}

interface Entry {
  readonly text: string
  readonly children?: readonly Entry[]
}

t.test('the guides stand in the navigation by task, with their titles', async t => {
  const groups: readonly Entry[] = JSON.parse(dataOf('navigation.js'))
  t.strictSame(
    groups.find(({ text }) => text === 'Guides')?.children?.map(({ text }) => text),
    [
      ...['Getting started', 'In your server', 'Pipelines', 'Browser', 'Gateway', 'Key managers', 'Fleet', 'Format'],
      ...['Errors', 'Threats', 'Contributing'],
    ],
  )
  t.equal(groups.at(-1)?.text, 'Reference')
  const pages = filesOf(join(root, 'docs'), '.md').filter(name => !name.startsWith('site'))
  t.equal(filesOf(join(site, 'documents'), '.html').length, pages.length + 1, 'each page of docs, and CONTRIBUTING')
})

t.test('the search finds words of guides', async t => {
  const { rows, index }: { rows: { name: string }[]; index: { invertedIndex: [string, object][] } } = JSON.parse(
    dataOf('search.js'),
  )
  t.ok(rows.some(({ name }) => name === 'Getting started'))
  t.ok(index.invertedIndex.some(([word]) => word.startsWith('haprox'))) // of the guide to fleets alone
})

t.test('each parameter has a name', async t => {
  for (const page of filesOf(site, '.html')) {
    if (readFileSync(join(site, page), 'utf8').includes('__namedParameters'))
      t.fail(`${page}: its function takes an object apart and has no @param that names it`)
  }
})

/** Elements that reach beyond the screen and lie in nothing that scrolls. */
const wide = `[...document.querySelectorAll('body *')].filter(each => {
  const { width, right } = each.getBoundingClientRect()
  if (width === 0 || right <= innerWidth + 1 || !each.checkVisibility({ visibilityProperty: true })) return false
  for (let at = each.parentElement; at !== document.body; at = at.parentElement)
    if (getComputedStyle(at).overflowX !== 'visible') return false
  return true
}).map(each => each.outerHTML.slice(0, 100))`

t.test('nothing is wider than the screen', { skip: noChromium }, async t => {
  const browser = await openBrowser()
  t.teardown(() => browser.close())
  for (const page of ['documents/Errors.html', 'documents/Gateway.html', 'functions/sse-kms-streams.createSse.html']) {
    for (const width of [400, 1280]) {
      await browser.show(pathToFileURL(join(site, page)).href, { width })
      t.equal(await browser.evaluate('innerWidth'), width, page)
      t.strictSame(await browser.evaluate(wide), [], `${page} at ${width}`)
    }
  }
})
