/** The package as npm packs it: its pages link to nothing that is not in it, and a bundle has no more than what is imported. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import t from 'tap'
import { bundles, bundleSize, fileLimits, filesOf, limits } from './support/sizes.ts'

const root = fileURLToPath(new URL('..', import.meta.url))

interface Packed {
  readonly files: readonly { readonly path: string }[]
}
const pack = ['pack', '--dry-run', '--json', '--offline', '--ignore-scripts']
const [packed]: readonly Packed[] = JSON.parse(execFileSync('npm', pack, { cwd: root, encoding: 'utf8' }))
const files = new Set(packed?.files.map(({ path }) => path))

/** Where the links of a page lead inside the package; code has none. */
const linksOf = (page: string): readonly string[] => {
  const text = readFileSync(join(root, page), 'utf8')
    .replaceAll(/^(```|~~~)[^]*?^\1/gm, '')
    .replaceAll(/`[^`\n]*`/g, '')
  return [...text.matchAll(/\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)|(?:href|src)="([^"]+)"/gm)]
    .map(([, inline, reference, attribute]) => inline ?? reference ?? attribute ?? '')
    .filter(link => !/^([a-z]+:|#)/i.test(link))
}

t.test('pages of the package link to nothing that is not in it', async t => {
  const pages = [...files].filter(path => path.endsWith('.md'))
  t.ok(pages.includes('README.md') && pages.length > 10, `${pages.length} pages`)
  let links = 0
  for (const page of pages) {
    for (const link of linksOf(page)) {
      links++
      const path = posix.join(posix.dirname(page), decodeURIComponent(link.replace(/[#?].*/, '')))
      t.ok(files.has(path) || [...files].some(file => file.startsWith(`${path}/`)), `${page} links to ${link}`)
    }
  }
  t.ok(links > 50, `${links} links`)
})

t.test('every entry is packed, with its declarations', async t => {
  const manifest: { readonly exports: Record<string, string>; readonly bin: Record<string, string> } = JSON.parse(
    readFileSync(join(root, 'package.json'), 'utf8'),
  )
  for (const path of [...Object.values(manifest.exports), ...Object.values(manifest.bin)]) {
    const file = posix.normalize(path)
    t.ok(files.has(file), file)
    if (file.endsWith('.js')) t.ok(files.has(file.replace(/\.js$/, '.d.ts')), `${file}, its declarations`)
  }
})

t.test('bundles and imports keep within their limits', async t => {
  for (const name of ['web', 'createSse', 'parseRange', 'SseError'] as const) {
    const { gzip } = await bundleSize(bundles[name])
    t.ok(gzip > 100 && gzip <= limits[name], `${name}: ${gzip} bytes, at most ${limits[name]}`)
  }
  for (const [entry, file] of [
    ['.', './dist/index.js'],
    ['./web', './dist/web.js'],
  ] as const) {
    const { files } = await filesOf(file)
    t.ok(files > 10 && files <= fileLimits[entry], `${entry}: ${files} files, at most ${fileLimits[entry]}`)
  }
})

t.test('imports have no side effects, and the command keeps its own', async t => {
  const folder = mkdtempSync(join(root, '.tap/package-')) // where its packages are found
  t.teardown(() => rmSync(folder, { recursive: true }))
  const options = { bundle: true, format: 'esm', platform: 'node', packages: 'external', write: false } as const
  const bundle = async (contents: string): Promise<string> => {
    const stdin = { contents, resolveDir: root }
    const { outputFiles } = await build({ ...options, stdin, logLevel: 'silent' })
    return outputFiles[0]?.text ?? ''
  }
  t.equal((await bundle(`import './dist/index.js'; import './dist/gateway.js'; import './dist/rules.js'`)).trim(), '')
  const one = await bundle(`export { parseRange } from './dist/index.js'`)
  t.match(one, 'parseRange')
  t.notMatch(one, /node:|createSse|stream-chain/)
  const outfile = join(folder, 'dist/cli/main.mjs')
  const { errors } = await build({ ...options, entryPoints: [join(root, 'dist/cli/main.js')], outfile, write: true })
  t.strictSame(errors, [])
  t.ok(existsSync(outfile))
  t.match(execFileSync(process.execPath, [outfile, 'help'], { encoding: 'utf8' }), /^Usage|sse-kms/m)
})
