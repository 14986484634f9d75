// Files of a sandbox: read, written, listed, watched, and by signed addresses.
const { Sandbox, FileNotFoundError, InvalidArgumentError, SandboxError, FileType, FilesystemEventType } = require('e2b')
const { check, equal, truthy, raises, until, main, docker } = require('./harness.cjs')

let sandbox, home
const stream = (...parts) => new ReadableStream({
  start(controller) {
    for (const part of parts) controller.enqueue(new TextEncoder().encode(part))
    controller.close()
  },
})
const text = async (readable) => new Response(readable).text()

check('write and read', async () => {
  const { files } = sandbox
  const info = await files.write('a.txt', 'Grüße')
  equal([info.name, info.path, info.type], ['a.txt', `${home}/a.txt`, FileType.FILE])
  equal(await files.read('a.txt'), 'Grüße')
  equal(await files.read(`${home}/a.txt`, { format: 'text' }), 'Grüße')
  equal(Buffer.from(await files.read('a.txt', { format: 'bytes' })).toString(), 'Grüße')
  equal(await (await files.read('a.txt', { format: 'blob' })).text(), 'Grüße')
  equal(await text(await files.read('a.txt', { format: 'stream' })), 'Grüße')
  equal(await files.read('a.txt', { gzip: true }), 'Grüße')
  await files.write('a.txt', 'short')
  equal(await files.read('a.txt'), 'short', 'it is replaced')
  await files.write('empty', '')
  equal(await files.read('empty'), '')
  equal(Buffer.from(await files.read('empty', { format: 'bytes' })).length, 0)
  await raises(FileNotFoundError, () => files.read('missing'))
  await raises(InvalidArgumentError, () => files.read('.'))
})
check('every kind of data', async () => {
  const { files } = sandbox
  const bytes = new Uint8Array(256).map((_, i) => i)
  await files.write('bytes', bytes.buffer)
  equal([...(await files.read('bytes', { format: 'bytes' }))], [...bytes])
  await files.write('blob', new Blob(['from a ', 'blob']))
  equal(await files.read('blob'), 'from a blob')
  await files.write('stream', stream('from ', 'a stream'))
  equal(await files.read('stream'), 'from a stream')
  await files.write('gz', 'x'.repeat(100_000), { gzip: true })
  equal((await files.read('gz', { gzip: true })).length, 100_000)
  await files.write('octets', 'plain', { useOctetStream: true })
  equal(await files.read('octets'), 'plain')
  const large = 'ab'.repeat(4 << 20)
  await files.write('large', large)
  equal(await files.read('large'), large)
})
check('several at once', async () => {
  const { files } = sandbox
  equal(await files.write([]), [])
  const written = await files.writeFiles([
    { path: 'many/one.txt', data: '1' }, { path: `${home}/many/deep/two.txt`, data: new Blob(['2']) }, { path: 'ünï cödé.txt', data: stream('3') },
  ])
  equal(written.map((f) => f.path), [`${home}/many/one.txt`, `${home}/many/deep/two.txt`, `${home}/ünï cödé.txt`])
  equal([await files.read('many/one.txt'), await files.read('many/deep/two.txt'), await files.read('ünï cödé.txt')], ['1', '2', '3'])
  equal((await files.write([{ path: 'single.txt', data: 's' }])).length, 1)
})
check('getInfo, exists, makeDir, rename, remove', async () => {
  const { files } = sandbox
  const info = await files.getInfo('many/one.txt')
  equal([info.name, info.type, info.path, info.size, info.mode, info.permissions], ['one.txt', FileType.FILE, `${home}/many/one.txt`, 1, 0o644, '-rw-r--r--'])
  truthy(info.owner && info.group && Math.abs(info.modifiedTime - Date.now()) < 600_000, info)
  if (docker) equal([info.owner, info.group], ['user', 'user'])
  equal([await files.exists('many'), await files.exists('nothing')], [true, false])
  equal([await files.makeDir('new/deep'), await files.makeDir('new/deep')], [true, false])
  await raises(SandboxError, () => files.makeDir('a.txt/below'))
  const moved = await files.rename('many/one.txt', 'elsewhere/first.txt')
  equal(moved.path, `${home}/elsewhere/first.txt`)
  equal([await files.exists('many/one.txt'), await files.read('elsewhere/first.txt')], [false, '1'])
  await raises(FileNotFoundError, () => files.rename('nothing', 'x'))
  await raises(FileNotFoundError, () => files.getInfo('nothing'))
  await files.remove('elsewhere')
  equal(await files.exists('elsewhere'), false)
  await files.remove('elsewhere')
})
check('list', async () => {
  const { files } = sandbox
  await files.write([{ path: 'tree/b/c.txt', data: 'c' }, { path: 'tree/a.txt', data: 'a' }])
  await sandbox.commands.run('ln -s a.txt tree/link')
  const names = async (depth) => (await files.list('tree', depth && { depth })).map((e) => `${e.type}:${e.path.slice(`${home}/tree/`.length)}`)
  equal(await names(), ['file:a.txt', 'dir:b', 'file:link'])
  equal(await names(2), ['file:a.txt', 'dir:b', 'file:b/c.txt', 'file:link'])
  const link = (await files.list('tree')).find((e) => e.name === 'link')
  equal(link.symlinkTarget, `${home}/tree/a.txt`)
  await raises(InvalidArgumentError, () => files.list('tree', { depth: 0 }))
  await raises(FileNotFoundError, () => files.list('nothing'))
  await raises(InvalidArgumentError, () => files.list('tree/a.txt'))
})
check('metadata', async () => {
  const { files } = sandbox
  await files.write('noted.txt', 'x', { metadata: { author: 'ada', kind: 'a b=c' } })
  equal((await files.getInfo('noted.txt')).metadata, { author: 'ada', kind: 'a b=c' })
  await files.write('noted.txt', 'y')
  truthy(!Object.keys((await files.getInfo('noted.txt')).metadata ?? {}).length, 'it is cleared')
})
check('users', async () => {
  const { files } = sandbox
  await files.write('/root/secret', 'root', { user: 'root' })
  equal(await files.read('/root/secret', { user: 'root' }), 'root')
  await raises(Error, () => files.read('/root/secret'))
  equal((await files.getInfo('/root/secret', { user: 'root' })).owner, 'root')
  await files.write('/tmp/outside', 'o')
  equal((await files.list('/tmp')).some((e) => e.name === 'outside'), true)
  equal(await files.read('/etc/hostname').then((t) => t.length > 0), true)
}, { docker: true })
check('watchDir', async () => {
  const { files } = sandbox
  await files.makeDir('watched')
  const events = []
  let exited
  const handle = await files.watchDir('watched', (event) => { events.push(event) }, { recursive: true, includeEntry: true, timeoutMs: 0, onExit: (e) => { exited = [e] } })
  const saw = (type, name) => until(`${type} ${name}`, () => events.some((e) => e.type === type && e.name === name))
  await files.write('watched/one.txt', '1')
  await saw(FilesystemEventType.CREATE, 'one.txt')
  await files.write('watched/one.txt', '22')
  await sandbox.commands.run('echo more >> watched/one.txt; mkdir -p watched/x/y; echo 1 > watched/x/y/deep.txt; chmod 600 watched/one.txt')
  await saw(FilesystemEventType.WRITE, 'one.txt')
  await saw(FilesystemEventType.CHMOD, 'one.txt')
  await saw(FilesystemEventType.CREATE, 'x/y/deep.txt')
  await files.rename('watched/one.txt', 'watched/two.txt')
  await saw(FilesystemEventType.RENAME, 'one.txt')
  await files.remove('watched/two.txt')
  await saw(FilesystemEventType.REMOVE, 'two.txt')
  truthy(events.some((e) => e.entry?.path === `${home}/watched/one.txt`), 'entries come with events')
  await handle.stop()
  await until('it has ended', () => exited)
  await raises(FileNotFoundError, () => files.watchDir('nothing', () => {}))
  await raises(InvalidArgumentError, () => files.watchDir('a.txt', () => {}))
})
check('signed addresses', async () => {
  const { files } = sandbox
  await files.write('signed file.txt', 'signed')
  for (const opts of [undefined, { useSignatureExpiration: 60 }]) {
    const down = await sandbox.downloadUrl('signed file.txt', opts)
    equal(await (await fetch(down)).text(), 'signed')
    const up = await sandbox.uploadUrl(`up ${Boolean(opts)}.txt`, opts)
    const form = new FormData()
    form.append('file', 'uploaded')
    const answer = await fetch(up, { method: 'POST', body: form })
    equal([answer.status, (await answer.json())[0].name], [200, `up ${Boolean(opts)}.txt`])
    equal(await files.read(`up ${Boolean(opts)}.txt`), 'uploaded')
  }
  const down = await sandbox.downloadUrl('signed file.txt')
  const refused = async (url, message) => {
    const answer = await fetch(url)
    equal([answer.status, (await answer.json()).message], [401, message])
  }
  await refused(down.replace('signed+file', 'other').replace('signed%20file', 'other'), 'invalid signature')
  await refused(down.replace(/&?signature=[^&]*/, ''), 'missing signature query parameter')
  await refused(await sandbox.downloadUrl('signed file.txt', { useSignatureExpiration: -10 }), 'signature is already expired')
})

main(
  async () => {
    sandbox = await Sandbox.create({ timeoutMs: 600_000 })
    home = (await sandbox.files.write('.home', '')).path.slice(0, -'/.home'.length)
  },
  () => sandbox.kill(),
)
