/** Pictures of pages of the built site, wide and narrow, light and dark: `npm run screenshots FOLDER documents/Errors.html …` after `npm run docs`. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { openBrowser } from '../test/support/chromium.ts'

const [folder = '', ...pages] = process.argv.slice(2)
mkdirSync(folder, { recursive: true })
const browser = await openBrowser()
for (const page of pages) {
  for (const [width, scheme] of [
    [1280, 'light'],
    [1280, 'dark'],
    [400, 'light'],
    [400, 'dark'],
  ] as const) {
    await browser.show(pathToFileURL(join(import.meta.dirname, 'site', page)).href, { width, height: 1600, scheme })
    writeFileSync(join(folder, `${basename(page, '.html')}-${width}-${scheme}.png`), await browser.picture())
  }
}
await browser.close()
