/** A plot of bars as SVG, readable on light and dark pages: a small generator, no package. */

/** A bar with its spread. */
export interface Bar {
  readonly median: number
  readonly minimum: number
  readonly maximum: number
  /** Which series it belongs to. */
  readonly series: number
}

/** Bars that belong together. */
export interface Entry {
  readonly label: string
  readonly bars: readonly Bar[]
  /** Set off from the others. */
  readonly ours: boolean
}

/** What is drawn. */
export interface Plot {
  readonly title: string
  /** What the figures are, and what they were measured on. */
  readonly caption: string
  readonly unit: string
  readonly series: readonly string[]
  readonly entries: readonly Entry[]
}

const plotWidth = 450
const digit = 7.6 // the widest that a letter is on average
const barHeight = 13
const gap = 12
const top = 74

const escape = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')

/** Steps of a scale: 1, 2 or 5 times a power of ten, at most six. */
const ticks = (maximum: number): readonly number[] => {
  const rough = maximum / 6
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = ([1, 2, 5].find(factor => factor * power >= rough) ?? 10) * power
  return Array.from({ length: Math.floor(maximum / step) + 1 }, (_, i) => i * step)
}

const style = `
  text { font: 13px system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif; fill: #1f2328 }
  .title { font-size: 16px; font-weight: 600 }
  .small { font-size: 11px; fill: #59636e }
  .ours { font-weight: 700 }
  .back { fill: #ffffff; stroke: #d1d9e0 }
  .grid { stroke: #d1d9e0 }
  .spread { stroke: #1f2328; stroke-opacity: 0.7 }
  .series0 { fill: #0969da }
  .series1 { fill: #bc4c00 }
  .theirs { fill-opacity: 0.45 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc }
    .small { fill: #9198a1 }
    .back { fill: #0d1117; stroke: #3d444d }
    .grid { stroke: #3d444d }
    .spread { stroke: #f0f6fc }
    .series0 { fill: #4493f8 }
    .series1 { fill: #db6d28 }
  }
`

/** Draws it. */
export const svg = ({ title, caption, unit, series, entries }: Plot): string => {
  const labelWidth = Math.ceil(Math.max(200, ...entries.map(({ label }) => label.length * digit + 20)))
  const width = labelWidth + plotWidth + 110
  const heights = entries.map(({ bars }) => bars.length * barHeight + gap)
  const bottom = top + heights.reduce((sum, height) => sum + height, 0)
  const maximum = Math.max(1, ...entries.flatMap(({ bars }) => bars.map(bar => bar.maximum)))
  const scale = plotWidth / maximum
  const x = (value: number) => (labelWidth + value * scale).toFixed(1)
  const parts = [
    `<rect class="back" x="0.5" y="0.5" width="${width - 1}" height="${bottom + 43}" rx="6"/>`,
    `<text class="title" x="16" y="28">${escape(title)}</text>`,
    `<text class="small" x="16" y="47">${escape(caption)}</text>`,
    ...series.flatMap((name, i) => [
      `<rect class="series${i}" x="${width - 150 + i * 70}" y="17" width="12" height="12"/>`,
      `<text x="${width - 133 + i * 70}" y="28">${escape(name)}</text>`,
    ]),
    ...ticks(maximum).flatMap(tick => [
      `<line class="grid" x1="${x(tick)}" x2="${x(tick)}" y1="${top - 8}" y2="${bottom}"/>`,
      `<text class="small" x="${x(tick)}" y="${bottom + 16}" text-anchor="middle">${tick}</text>`,
    ]),
    `<text class="small" x="${labelWidth}" y="${bottom + 32}">${escape(unit)}</text>`,
  ]
  let y = top
  for (const [i, { label, bars, ours }] of entries.entries()) {
    const height = heights[i] ?? 0
    const middle = y + (height - gap) / 2 + 5
    const mark = ours ? 'ours' : 'theirs'
    parts.push(
      `<text class="${mark === 'ours' ? 'ours' : ''}" x="${labelWidth - 10}" y="${middle}" text-anchor="end">${escape(label)}</text>`,
    )
    for (const [j, bar] of bars.entries()) {
      const at = y + j * barHeight
      const line = at + (barHeight - 2) / 2
      const length = (bar.median * scale).toFixed(1)
      parts.push(
        `<rect class="series${bar.series} ${mark}" x="${labelWidth}" y="${at}" width="${length}" height="${barHeight - 2}"/>`,
        `<line class="spread" x1="${x(bar.minimum)}" x2="${x(bar.maximum)}" y1="${line}" y2="${line}"/>`,
        `<text class="small" x="${(labelWidth + bar.maximum * scale + 6).toFixed(1)}" y="${at + 10}">${bar.median.toFixed(0)}</text>`,
      )
    }
    y += height
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${bottom + 44}" viewBox="0 0 ${width} ${bottom + 44}" role="img" aria-label="${escape(title)}">
<style>${style}</style>
${parts.join('\n')}
</svg>
`
}
