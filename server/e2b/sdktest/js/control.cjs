// The control plane: making, finding, changing and ending sandboxes.
const e2b = require('e2b')
const { Sandbox, SandboxError, SandboxNotFoundError, AuthenticationError, RateLimitError, InvalidArgumentError, Volume, Secret, Template } = e2b
const { check, equal, truthy, raises, until, main, docker } = require('./harness.cjs')

let sandbox
const { E2B_API_KEY: key, DS_TEST_SMALL_KEY: smallKey } = process.env

check('create', async () => {
  sandbox = await Sandbox.create({ metadata: { program: 'control-js', 'a b': 'c&d=+%/é' }, envs: { FROM_CREATE: 'yes' }, timeoutMs: 120_000 })
  truthy(/^[a-z0-9]+$/.test(sandbox.sandboxId), sandbox.sandboxId)
  equal(await sandbox.isRunning(), true)
})
check('getInfo', async () => {
  for (const info of [await sandbox.getInfo(), await Sandbox.getInfo(sandbox.sandboxId), await Sandbox.getFullInfo(sandbox.sandboxId)]) {
    equal(info.sandboxId, sandbox.sandboxId)
    equal([info.templateId, info.state], ['base', 'running'])
    equal(info.metadata['a b'], 'c&d=+%/é')
    equal(info.lifecycle, { onTimeout: 'kill', autoResume: false })
    equal(info.volumeMounts, [])
    truthy(info.startedAt < info.endAt && info.cpuCount > 0 && info.memoryMB > 0 && info.envdVersion, 'figures')
    equal(Math.round((info.endAt - info.startedAt) / 1000), 120)
  }
})
check('list', async () => {
  const ids = async (opts) => (await Sandbox.list(opts).nextItems()).map((s) => s.sandboxId)
  equal(await ids({ query: { metadata: { program: 'control-js', 'a b': 'c&d=+%/é' } } }), [sandbox.sandboxId])
  equal(await ids({ query: { metadata: { program: 'control-js' }, state: ['running'] } }), [sandbox.sandboxId])
  equal(await ids({ query: { metadata: { program: 'control-js' }, state: ['paused'] } }), [])
  equal(await ids({ query: { metadata: { program: 'control-js' }, template: 'base' } }), [sandbox.sandboxId])
  equal(await ids({ query: { metadata: { program: 'control-js' }, template: 'unknown' } }), [])
  const { startedAt } = await sandbox.getInfo()
  equal(await ids({ query: { metadata: { program: 'control-js' }, startedAfter: startedAt } }), [sandbox.sandboxId])
  equal(await ids({ query: { metadata: { program: 'control-js' }, startedAfter: new Date(startedAt.getTime() + 1000) } }), [])
})
check('list in pages', async () => {
  const other = await Sandbox.create('code-interpreter-v1', { metadata: { program: 'control-js' } })
  for (const [order, want] of [['asc', [sandbox, other]], ['desc', [other, sandbox]]]) {
    const pages = Sandbox.list({ query: { metadata: { program: 'control-js' } }, limit: 1, order })
    const got = []
    while (pages.hasNext) got.push(...(await pages.nextItems()).map((s) => s.sandboxId))
    equal(got, want.map((s) => s.sandboxId))
    await raises(Error, () => pages.nextItems())
    const begin = Sandbox.list({ query: { metadata: { program: 'control-js' } }, limit: 1, order })
    await begin.nextItems()
    const rest = Sandbox.list({ query: { metadata: { program: 'control-js' } }, order, nextToken: begin.nextToken })
    equal((await rest.nextItems()).map((s) => s.sandboxId), [want[1].sandboxId])
  }
  equal(await other.kill(), true)
})
check('setTimeout and connect', async () => {
  const end = async () => (await sandbox.getInfo()).endAt.getTime()
  const near = (got, want) => truthy(Math.abs(got - want) < 20_000, `${got} is not near ${want}`)
  await sandbox.setTimeout(600_000)
  near(await end(), Date.now() + 600_000)
  const before = await end()
  const handle = await Sandbox.connect(sandbox.sandboxId, { timeoutMs: 60_000 })
  equal(handle.sandboxId, sandbox.sandboxId)
  equal(await end(), before, 'connect never brings the end forward:')
  await handle.connect({ timeoutMs: 900_000 })
  near(await end(), Date.now() + 900_000)
  await Sandbox.setTimeout(sandbox.sandboxId, 300_000)
  near(await end(), Date.now() + 300_000)
  equal(await (await Sandbox.connect(sandbox.sandboxId)).isRunning(), true)
  await raises(InvalidArgumentError, () => Sandbox.connect(sandbox.sandboxId, { onResume: 'never' }))
  await Sandbox.connect(sandbox.sandboxId, { onResume: 'reboot' }) // of one that runs it says nothing
})
check('a sandbox ends with its time', async () => {
  const brief = await Sandbox.create({ timeoutMs: 1000 })
  await until('it is gone', async () => !(await brief.isRunning()))
  await raises(SandboxNotFoundError, () => brief.getInfo())
})
check('pause and resume', async () => {
  const command = docker ? await sandbox.commands.run('sleep 300', { background: true }) : null
  equal(await sandbox.pause(), true)
  equal(await sandbox.pause(), false)
  equal(await Sandbox.pause(sandbox.sandboxId), false)
  equal(await sandbox.betaPause(), false)
  equal(await sandbox.isRunning(), false)
  equal((await sandbox.getInfo()).state, 'paused')
  const paused = await Sandbox.list({ query: { state: ['paused'], metadata: { program: 'control-js' } } }).nextItems()
  equal(paused.map((s) => s.sandboxId), [sandbox.sandboxId])
  await raises(SandboxError, () => sandbox.connect({ onResume: 'reboot' }), '501')
  await sandbox.connect()
  equal(await sandbox.isRunning(), true)
  if (command) truthy((await sandbox.commands.list()).some((p) => p.pid === command.pid), 'the process survived')
  await raises(SandboxError, () => sandbox.pause({ keepMemory: false }), '501')
  await raises(SandboxNotFoundError, () => Sandbox.pause('nosuchsandbox'))
})
check('a pause at the end of its time, and a request that wakes it', async () => {
  const sleeper = await Sandbox.create({ timeoutMs: 1000, lifecycle: { onTimeout: 'pause', autoResume: true } })
  await until('it is paused', async () => (await sleeper.getInfo()).state === 'paused')
  equal((await sleeper.getInfo()).lifecycle, { onTimeout: 'pause', autoResume: true })
  await sleeper.setTimeout(60_000).catch(() => {}) // it may be refused while paused
  equal(await sleeper.isRunning(), true)
  await sleeper.connect({ timeoutMs: 60_000 })
  equal((await sleeper.getInfo()).state, 'running')
  equal((await sleeper.getInfo()).lifecycle.onTimeout, 'pause', 'it survives')
  equal(await sleeper.kill(), true)
  await raises(SandboxError, () => Sandbox.create({ lifecycle: { onTimeout: { action: 'pause', keepMemory: false } } }), '501')
})
check('getMetrics', async () => {
  const all = await sandbox.getMetrics()
  truthy(all.length > 0, 'there are some')
  for (const name of ['cpuUsedPct', 'cpuCount', 'memUsed', 'memTotal', 'memCache', 'diskUsed', 'diskTotal']) {
    truthy(typeof all[0][name] === 'number', name)
  }
  truthy(Math.abs(all[0].timestamp - Date.now()) < 60_000, all[0].timestamp)
  equal(await Sandbox.getMetrics(sandbox.sandboxId, { start: new Date(0), end: new Date(Date.now() - 3_600_000) }), [])
  truthy((await sandbox.getMetrics({ start: new Date(Date.now() - 60_000), end: new Date() })).length > 0, 'in a span')
  await raises(SandboxNotFoundError, () => Sandbox.getMetrics('nosuchsandbox'))
})
check('snapshots', async () => {
  await sandbox.files.write('kept.txt', 'kept')
  const plain = await sandbox.createSnapshot()
  const named = await Sandbox.createSnapshot(sandbox.sandboxId, { name: 'js-snapshot' })
  truthy(named.names.length === 1 && named.names[0] === named.snapshotId && named.snapshotId.includes('js-snapshot'), named)
  const pages = sandbox.listSnapshots({ limit: 1 })
  const ids = []
  while (pages.hasNext) ids.push(...(await pages.nextItems()).map((s) => s.snapshotId))
  equal(ids, [named.snapshotId, plain.snapshotId])
  equal((await Sandbox.listSnapshots({ name: 'js-snapshot' }).nextItems()).length, 1)
  equal(await Sandbox.listSnapshots({ name: 'unknown' }).nextItems(), [])
  const copy = await Sandbox.create(named.snapshotId)
  equal(await copy.files.read('kept.txt'), 'kept')
  equal(await copy.kill(), true)
  equal(await Sandbox.deleteSnapshot(named.snapshotId), true)
  equal(await Sandbox.deleteSnapshot(named.snapshotId), false)
  equal(await Sandbox.deleteSnapshot(plain.snapshotId), true)
  await raises(SandboxError, () => Sandbox.create(named.snapshotId), '404')
  await raises(SandboxNotFoundError, () => Sandbox.createSnapshot('nosuchsandbox'))
})
check('fork', async () => {
  await sandbox.files.write('before.txt', 'before')
  const forks = [...(await sandbox.fork({ count: 2, timeoutMs: 60_000 })), ...(await Sandbox.fork(sandbox.sandboxId))]
  equal(forks.length, 3)
  for (const fork of forks) {
    truthy(!(fork instanceof Error), fork)
    equal(await fork.files.read('before.txt'), 'before')
    equal(await fork.kill(), true)
  }
  await raises(SandboxNotFoundError, () => Sandbox.fork('nosuchsandbox'))
})
check('updateNetwork', async () => {
  if (!docker) {
    await raises(SandboxError, () => sandbox.updateNetwork({ denyOut: ['8.8.8.8/32'] }), '501')
    return
  }
  await sandbox.updateNetwork({ denyOut: ['8.8.8.8/32'], allowInternetAccess: false })
  const info = await sandbox.getInfo()
  equal([info.network.denyOut, info.allowInternetAccess], [['8.8.8.8/32'], false])
  await Sandbox.updateNetwork(sandbox.sandboxId, {})
  equal((await sandbox.getInfo()).allowInternetAccess, undefined)
  await raises(SandboxError, () => sandbox.updateNetwork({ egressProxy: { address: '10.0.0.1:1080' } }), '501')
  await raises(SandboxNotFoundError, () => Sandbox.updateNetwork('nosuchsandbox', {}))
})
check('ports of a sandbox', async () => {
  const open = await Sandbox.create({ network: { maskRequestHost: 'localhost:${PORT}' } })
  await open.files.write('site/index.html', 'from inside')
  const server = await open.commands.run('cd site && exec python3 -u -m http.server 8123 --bind 127.0.0.1', { background: true })
  const url = process.env.E2B_SANDBOX_URL
  const ask = (id, port, headers = {}) => fetch(url, { headers: { 'E2b-Sandbox-Id': id, 'E2b-Sandbox-Port': String(port), ...headers } })
  await until('the server answers', async () => (await ask(open.sandboxId, 8123)).status === 200)
  equal(await (await ask(open.sandboxId, 8123)).text(), 'from inside')
  equal(open.getHost(8123), `8123-${open.sandboxId}.${open.sandboxDomain}`)
  let answer = await ask(open.sandboxId, 8124)
  equal([answer.status, (await answer.json()).message], [502, 'The sandbox is running but port is not open'])
  await server.kill()
  await open.kill()
  answer = await ask(open.sandboxId, 8123)
  const body = await answer.json()
  equal([answer.status, body.message, body.sandboxId], [502, 'The sandbox was not found', open.sandboxId])
})
check('traffic that needs a token', async () => {
  const closed = await Sandbox.create({ network: { allowPublicTraffic: false } })
  truthy(closed.trafficAccessToken, 'there is one')
  const url = process.env.E2B_SANDBOX_URL
  const ask = (token) => fetch(url, { headers: { 'E2b-Sandbox-Id': closed.sandboxId, 'E2b-Sandbox-Port': '8125', ...(token && { 'e2b-traffic-access-token': token }) } })
  equal((await ask()).status, 403)
  equal((await ask('wrong')).status, 403)
  equal((await ask(closed.trafficAccessToken)).status, 502)
  const again = await Sandbox.connect(closed.sandboxId)
  equal(again.trafficAccessToken, closed.trafficAccessToken)
  equal((await closed.getInfo()).network.allowPublicTraffic, false)
  equal(await closed.commands.run('echo in').then((r) => r.stdout), 'in\n')
  await closed.kill()
})
check('wrong and missing keys', async () => {
  await raises(AuthenticationError, () => Sandbox.create({ apiKey: 'e2b_00000000000000000000' }))
  await raises(AuthenticationError, () => Sandbox.list({ apiKey: 'e2b_00000000000000000000' }).nextItems())
  await raises(SandboxNotFoundError, () => Sandbox.getInfo(sandbox.sandboxId, { apiKey: smallKey }))
  equal(await Sandbox.kill(sandbox.sandboxId, { apiKey: smallKey }), false)
  equal(await sandbox.isRunning(), true)
})
check('a limit is reached', async () => {
  const one = await Sandbox.create({ apiKey: smallKey })
  const error = await raises(RateLimitError, () => Sandbox.create({ apiKey: smallKey, retries: 0 }), 'limit')
  truthy(error, 'it is told')
  equal(await Sandbox.kill(one.sandboxId, { apiKey: smallKey }), true)
})
check('the client object', async () => {
  const client = new e2b.E2B({ apiKey: key })
  const made = await client.Sandbox.create()
  equal(await made.isRunning(), true)
  equal(await client.Sandbox.kill(made.sandboxId), true)
})
check('mistakes of create', async () => {
  await raises(SandboxError, () => Sandbox.create('no-such-template'), '404')
  await raises(SandboxError, () => Sandbox.create({ timeoutMs: 1000 * 3600 * 24 * 365 }), '400')
  await raises(SandboxError, () => Sandbox.create({ volumeMounts: { '/v': 'v' } }), '501')
  await raises(SandboxError, () => Sandbox.create('base', { mcp: { x: {} } }), '501')
})
check('what is not supported says so', async () => {
  const wants501 = async (run) => {
    const error = await raises(Error, run)
    truthy(/not supported/.test(error.message), error.message)
  }
  await wants501(() => Volume.create('v'))
  await wants501(() => Volume.list())
  await wants501(() => Volume.getInfo('v'))
  await wants501(() => Volume.destroy('v'))
  await wants501(() => Secret.create('s', 'v'))
  await wants501(() => Secret.list().nextItems())
  await wants501(() => Secret.update('s', 'v'))
  await wants501(() => Secret.getInfo('s'))
  await wants501(() => Secret.exists('s'))
  await wants501(() => Secret.destroy('s'))
  await wants501(() => Template.build(Template().fromBaseImage(), 'mine'))
  await wants501(() => Template.buildInBackground(Template().fromBaseImage(), 'mine'))
  await wants501(() => Template.getBuildStatus({ templateId: 't', buildId: 'b' }))
  await wants501(() => Template.assignTags('base', 'v1'))
  await wants501(() => Template.removeTags('base', 'v1'))
  await wants501(() => Template.getTags('base'))
})
check('templates that are there', async () => {
  equal(await Template.exists('code-interpreter-v1'), true)
  equal(await Template.exists('no-such-template'), false)
  equal(await Template.aliasExists('base'), true)
})
check('the address of an MCP gateway', async () => {
  truthy(sandbox.getMcpUrl().includes(`50005-${sandbox.sandboxId}`), sandbox.getMcpUrl())
})
check('kill', async () => {
  equal(await sandbox.kill(), true)
  equal(await sandbox.kill(), false)
  equal(await Sandbox.kill(sandbox.sandboxId), false)
  equal(await sandbox.isRunning(), false)
  await raises(SandboxNotFoundError, () => sandbox.getInfo())
  await raises(SandboxNotFoundError, () => Sandbox.connect(sandbox.sandboxId))
  await raises(SandboxNotFoundError, () => sandbox.setTimeout(1000))
})

main()
