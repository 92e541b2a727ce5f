/**
 * What an operator copies: alerts, checked by Prometheus' own promtool and fired by it; a scrape of a running server by Prometheus; the unit of
 * systemd, verified by systemd-analyze; the files for containers, each held to its schema or read by its own tool.
 */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { validate } from 'dockerfile-utils'
import { Deployment } from 'kubernetes-models/apps/v1'
import { PodDisruptionBudget } from 'kubernetes-models/policy/v1'
import { Service } from 'kubernetes-models/v1'
import t from 'tap'
import { parse, parseAllDocuments } from 'yaml'
import { readConfigFile } from '../lib/cli/config-schema.ts'
import { createMetrics } from '../lib/cli/metrics.ts'
import { errorTable } from '../lib/errors.ts'
import { startServer } from './support/server.ts'

const path = (name: string): string => fileURLToPath(new URL(`../docs/deploy/${name}`, import.meta.url))
const missing = (program: string, from: string): string | false =>
  !existsSync(program) && `${program} is missing (${from})`
const [promtool, prometheus] = ['/usr/bin/promtool', '/usr/bin/prometheus']
const noPrometheus = missing(promtool, 'Debian: prometheus') || missing(prometheus, 'Debian: prometheus')
const analyze = '/usr/bin/systemd-analyze'

const alerts = readFileSync(path('alerts.yml'), 'utf8')

t.test('alerts name what there is, and each is in the runbook', async t => {
  const metrics = createMetrics()
  t.teardown(() => metrics.close())
  const text = await metrics.text()
  const named = [...alerts.matchAll(/\b(?:sse_kms|nodejs)_\w+/g)].map(([name]) => name)
  t.ok(named.length > 8)
  for (const name of named) t.match(text, new RegExp(`# TYPE ${name.replace(/_bucket$/, '')} `), name)
  const codes = [...alerts.matchAll(/(?:code|outcome)=~?"([\w|]+)"/g)].flatMap(([, list = '']) => list.split('|'))
  t.ok(codes.length > 6)
  for (const code of codes) t.ok(code in errorTable, code)
  const runbook = readFileSync(path('../operations.md'), 'utf8')
  for (const [, name = ''] of alerts.matchAll(/alert: (\w+)/g)) t.match(runbook, `| \`${name}\` |`, name)
})

t.test('promtool takes the alerts, and they fire', { skip: noPrometheus }, async t => {
  const checked = spawnSync(promtool, ['check', 'rules', path('alerts.yml')], { encoding: 'utf8' })
  t.equal(checked.status, 0, checked.stdout + checked.stderr)
  const labels = 'job="sse-kms",instance="one"'
  const series = (name: string, more: string, values: string) => ({
    series: `${name}{${labels}${more === '' ? '' : `,${more}`}}`,
    values,
  })
  const cases: readonly (readonly [alert: string, at: string, more: object, input: readonly object[]])[] = [
    ['SseKmsDown', '5m', { job: 'sse-kms' }, [series('up', '', '0x20')]],
    [
      'SseKmsServerErrors',
      '15m',
      {},
      [
        series('sse_kms_requests_total', 'action="PutObject",status="503"', '0+10x20'),
        series('sse_kms_requests_total', 'action="PutObject",status="200"', '0+100x20'),
      ],
    ],
    [
      'SseKmsKeyManagerFailing',
      '10m',
      { key_manager: 'hsm1' },
      [
        series(
          'sse_kms_key_manager_calls_total',
          'key_manager="hsm1",cached="false",outcome="KmsUnavailable"',
          '0+1x20',
        ),
      ],
    ],
    ['SseKmsWorkerEnded', '10m', { job: 'sse-kms' }, [series('sse_kms_worker_restarts_total', '', '0 0 0 1x20')]],
    [
      'SseKmsNotAuthentic',
      '5m',
      { code: 'NotAuthentic' },
      [series('sse_kms_errors_total', 'code="NotAuthentic"', '0 0 1x10')],
    ],
  ]
  const tests = cases.flatMap(([alert, at, more, input]) => [
    {
      interval: '1m',
      input_series: input,
      alert_rule_test: [
        { eval_time: at, alertname: alert, exp_alerts: [{ exp_labels: { instance: 'one', ...more } }] },
      ],
    },
    { interval: '1m', input_series: [], alert_rule_test: [{ eval_time: at, alertname: alert, exp_alerts: [] }] },
  ])
  const severe = JSON.parse(JSON.stringify(tests))
  const file = join(t.testdir(), 'tests.yml')
  // Severities and annotations are compared too; they are read from the rules.
  const summaries = new Map(
    [...alerts.matchAll(/alert: (\w+)[^]*?summary: '([^']*)'/g)].map(([, name = '', text = '']) => [name, text]),
  )
  const severities = new Map(
    [...alerts.matchAll(/alert: (\w+)[^]*?severity: (\w+)/g)].map(([, name, value]) => [name, value]),
  )
  for (const each of severe)
    for (const rule of each.alert_rule_test)
      for (const expected of rule.exp_alerts) {
        expected.exp_labels.severity = severities.get(rule.alertname)
        expected.exp_annotations = {
          summary: (summaries.get(rule.alertname) ?? '').replaceAll(
            /\{\{ \$labels\.(\w+) \}\}/g,
            (_: string, label: string) => expected.exp_labels[label],
          ),
        }
      }
  writeFileSync(file, JSON.stringify({ rule_files: [path('alerts.yml')], evaluation_interval: '1m', tests: severe }))
  const fired = spawnSync(promtool, ['test', 'rules', file], { encoding: 'utf8' })
  t.equal(fired.status, 0, fired.stdout + fired.stderr)
})

const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  await new Promise(resolve => server.close(resolve))
  return typeof address === 'object' && address !== null ? address.port : 0
}

t.test('Prometheus scrapes a server that runs', { skip: noPrometheus }, async t => {
  const folder = t.testdir()
  const [admin, port] = [await freePort(), await freePort()]
  const config = join(folder, 'sse-kms.json')
  writeFileSync(config, JSON.stringify({ admin: { listen: `127.0.0.1:${admin}` } }))
  const server = await startServer(join(folder, 'data'), ['--config', config])
  t.teardown(() => server.stop())
  await fetch(server.url)
  const scrapes = [{ job_name: 'sse-kms', scrape_interval: '200ms', scrape_timeout: '200ms' }].map(job => ({
    ...job,
    static_configs: [{ targets: [`127.0.0.1:${admin}`] }],
  }))
  const file = join(folder, 'prometheus.yml')
  writeFileSync(file, JSON.stringify({ rule_files: [path('alerts.yml')], scrape_configs: scrapes }))
  const flags = [`--config.file=${file}`, `--storage.tsdb.path=${join(folder, 'tsdb')}`]
  const child = spawn(prometheus, [...flags, `--web.listen-address=127.0.0.1:${port}`], { stdio: 'ignore' })
  t.teardown(async () => {
    if (child.exitCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  })
  const ask = async (query: string): Promise<string> => {
    const url = `http://127.0.0.1:${port}/api/v1/query?query=${encodeURIComponent(query)}`
    return fetch(url).then(
      answer => answer.text(),
      () => '',
    )
  }
  let answer = ''
  for (let tries = 0; tries < 150 && !answer.includes('"value"'); tries++) {
    await wait(200)
    answer = await ask('sse_kms_requests_total{job="sse-kms"}')
  }
  t.match(JSON.parse(answer), {
    status: 'success',
    data: { result: [{ metric: { action: 'ListBuckets', status: '403', job: 'sse-kms' }, value: [Number, '1'] }] },
  })
  t.match(JSON.parse(await ask('up')), { data: { result: [{ value: [Number, '1'] }] } })
})

t.test('the unit of systemd', { skip: missing(analyze, 'Debian: systemd') }, async t => {
  const { status, stderr } = spawnSync(analyze, ['verify', '--man=no', path('sse-kms.service')], { encoding: 'utf8' })
  const lines = stderr.split('\n').filter(line => line.includes('sse-kms'))
  t.strictSame([status, lines], [0, []], stderr)
})

const example = (name: string): string => readFileSync(path(name), 'utf8')
/** The variables of the environment that a configuration reads. */
const variablesOf = (name: string): readonly string[] =>
  [...example(name).matchAll(/"environment": "(\w+)"/g)].map(([, variable = '']) => variable).sort()

t.test('the configurations of the fleet are ones that the server takes', async t => {
  for (const name of ['sse-kms.json', 'bodies.json']) t.resolves(readConfigFile(path(name)), name)
})

t.test('the Dockerfile is one, and installs every optional package', async t => {
  const problems = validate(example('Dockerfile')).map(({ range, message }) => `${range.start.line + 1}: ${message}`)
  t.strictSame(problems, [])
  t.not(validate('FROM node\nRUNN x\n').length, 0, 'what is none is found')
  const [, expression = ''] = /\$\(node -p "(.*?)"\)/s.exec(example('Dockerfile')) ?? []
  const root = fileURLToPath(new URL('../', import.meta.url))
  const printed = spawnSync(process.execPath, ['-p', expression.replace('/build/', root)], { encoding: 'utf8' })
  t.match(printed.stdout, / pg@\^8.* zod@\^4/)
})

const compose = '/usr/bin/docker-compose'
t.test(
  'the compose file is one, and everything that it names is there',
  { skip: missing(compose, 'Debian: docker-compose') },
  async t => {
    const text = example('compose.yml')
    const variables = [...text.matchAll(/\$\{(\w+):\?/g)].map(([, name = '']) => name)
    const env = { PATH: '/usr/bin:/bin', ...Object.fromEntries(variables.map(name => [name, 'a'])) }
    const checked = spawnSync(compose, ['-f', path('compose.yml'), 'config'], { encoding: 'utf8', env })
    t.equal(checked.status, 0, checked.stderr)
    const none = spawnSync(compose, ['-f', path('compose.yml'), 'config'], {
      encoding: 'utf8',
      env: { PATH: env.PATH },
    })
    t.match(none.stderr, /the secret access key|the password|the token/, 'a secret that is missing is asked for')
    for (const [, file = ''] of text.matchAll(/"\.\/([\w.-]+):/g)) t.ok(existsSync(path(file)), file)
    const parsed: unknown = parse(checked.stdout)
    for (const variable of variablesOf('sse-kms.json'))
      t.hasProp(at(parsed, 'services', 'gateway1', 'environment'), variable)
    for (const variable of variablesOf('bodies.json'))
      t.hasProp(at(parsed, 'services', 'bodies', 'environment'), variable)
  },
)

const haproxy = '/usr/sbin/haproxy'
t.test('haproxy takes its configuration', { skip: missing(haproxy, 'Debian: haproxy') }, async t => {
  const checked = spawnSync(haproxy, ['-c', '-f', path('haproxy.cfg')], { encoding: 'utf8' })
  t.equal(checked.status, 0, checked.stderr)
})

/** What lies at the end of names in parsed YAML. */
const at = (value: unknown, ...names: readonly string[]): object => {
  let found = value
  for (const name of names) {
    found = typeof found === 'object' && found !== null ? new Map(Object.entries(found)).get(name) : undefined
  }
  return typeof found === 'object' && found !== null ? found : {}
}

t.test('the manifest of Kubernetes fits the schemas of Kubernetes', async t => {
  const [deployment, service, budget, ...more] = parseAllDocuments(example('kubernetes.yml')).map(each =>
    Object(each.toJS()),
  )
  t.equal(more.length, 0)
  new Deployment(deployment).validate()
  new Service(service).validate()
  new PodDisruptionBudget(budget).validate()
  t.throws(
    () => new Deployment({ ...deployment, spec: { ...at(deployment, 'spec'), replicas: 'two' } }).validate(),
    'and another one does not',
  )
  const text = JSON.stringify(deployment)
  for (const variable of variablesOf('sse-kms.json')) t.match(text, `"name":"${variable}"`)
})
