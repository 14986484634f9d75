// The code interpreter.
const { Sandbox, TimeoutError, SandboxError } = require('@e2b/code-interpreter')
const { NotFoundError } = require('e2b')
const { check, equal, truthy, raises, until, main, docker } = require('./harness.cjs')

let sandbox

check('values and state', async () => {
  equal((await sandbox.runCode('x = 41; x')).text, '41')
  equal((await sandbox.runCode('x += 1; x')).text, '42')
  equal((await sandbox.runCode('"a string"')).text, 'a string')
  equal((await sandbox.runCode('        y = 1\n        y + 1')).text, '2')
  equal((await sandbox.runCode('pass')).text, undefined)
  truthy((await sandbox.runCode('1')).executionCount > 0, 'runs are counted')
})
check('callbacks', async () => {
  const out = [], err = [], results = [], errors = []
  const execution = await sandbox.runCode('import sys\nprint("out ü 世界")\nprint("err", file=sys.stderr)\n3', {
    onStdout: (m) => out.push(m.line), onStderr: (m) => err.push(m.line), onResult: (r) => results.push(r.text), onError: (e) => errors.push(e),
  })
  equal([out, err, results, errors], [['out ü 世界\n'], ['err\n'], ['3'], []])
  equal([execution.logs.stdout, execution.logs.stderr], [out, err])
})
check('output comes as it is printed', async () => {
  const times = []
  await sandbox.runCode('import time\nfor c in "ab":\n    print(c, flush=True)\n    time.sleep(1)', { onStdout: () => times.push(Date.now()) })
  truthy(times.length === 2 && times[1] - times[0] > 500, times)
})
check('errors of the code', async () => {
  const errors = []
  const execution = await sandbox.runCode('print("before")\n1 / 0', { onError: (e) => errors.push(e.name) })
  equal([execution.error.name, execution.error.value, errors], ['ZeroDivisionError', 'division by zero', ['ZeroDivisionError']])
  truthy(execution.error.traceback.includes('1 / 0'), execution.error.traceback)
  equal(execution.logs.stdout, ['before\n'])
  equal((await sandbox.runCode('def broken(:')).error.name, 'SyntaxError')
})
check('figures, tables and other forms', async () => {
  const figure = await sandbox.runCode('import matplotlib.pyplot as plt\nplt.plot([1, 2, 3], [1, 4, 9], label="squares")\nplt.title("Squares")\nplt.xlabel("n (s)")\nplt.show()\n"after"')
  equal(figure.results.length, 2)
  const [picture, last] = figure.results
  truthy(picture.png && !picture.isMainResult && picture.formats().includes('png'), picture.formats())
  equal([picture.chart.type, picture.chart.title, picture.chart.x_unit], ['line', 'Squares', 's'])
  equal(picture.chart.elements[0].points, [[1, 1], [2, 4], [3, 9]])
  equal(picture.extra, {})
  equal([last.text, last.isMainResult, figure.text], ['after', true, 'after'])
  const table = (await sandbox.runCode('import pandas as pd, numpy as np\npd.DataFrame({"a": [1, 2], "b": [0.5, np.nan]})')).results[0]
  equal(table.data, { a: [1, 2], b: [0.5, null] })
  truthy(table.html.includes('<table') && table.formats().includes('html'), 'html')
  equal((await sandbox.runCode('{"k": [1, 2]}')).results[0].json, { k: [1, 2] })
  const forms = await sandbox.runCode('from IPython.display import *\ndisplay(HTML("<b>h</b>"), Markdown("*m*"), SVG("<svg xmlns=\'http://www.w3.org/2000/svg\'/>"), Latex("$l$"), Javascript("1"))')
  const has = (name) => forms.results.some((r) => r[name])
  for (const name of ['html', 'markdown', 'svg', 'latex', 'javascript']) truthy(has(name), name)
  truthy(JSON.stringify(forms.toJSON()).length > 10 && JSON.stringify(forms.results[0].toJSON()).length > 2, 'toJSON')
})
check('environment', async () => {
  const value = async (opts) => (await sandbox.runCode('import os; os.environ.get("FROM_CREATE"), os.environ.get("OWN")', opts)).text
  equal(await value(), "('yes', None)")
  equal(await value({ envs: { OWN: 'a "b" \'c\' \\', FROM_CREATE: 'call' } }), `('call', 'a "b" \\'c\\' \\\\')`)
  equal(await value(), "('yes', None)")
})
check('contexts', async () => {
  const context = await sandbox.createCodeContext({ cwd: '/home/user' })
  equal([context.language, context.cwd], ['python', '/home/user'])
  equal((await sandbox.runCode('x = "its own"; x', { context })).text, 'its own')
  equal((await sandbox.runCode('x')).text, '42')
  const listed = await sandbox.listCodeContexts()
  equal(listed.at(-1).id, context.id, 'in the order of their creation')
  if (docker) equal(listed.at(-1), context)
  truthy(listed.some((c) => c.language === 'python' && c.id !== context.id), 'the default one is there')
  await sandbox.restartCodeContext(context)
  equal((await sandbox.runCode('x', { context })).error.name, 'NameError')
  await sandbox.restartCodeContext(context.id)
  await sandbox.removeCodeContext(context)
  truthy(!(await sandbox.listCodeContexts()).some((c) => c.id === context.id), 'it is gone')
  await raises(NotFoundError, () => sandbox.runCode('1', { context }))
  await raises(NotFoundError, () => sandbox.removeCodeContext(context.id))
  await raises(NotFoundError, () => sandbox.restartCodeContext('no-such-context'))
  const second = await sandbox.createCodeContext({ language: 'python' })
  const both = await Promise.all([sandbox.runCode('import time; time.sleep(0.3); 1'), sandbox.runCode('2', { context: second })])
  equal(both.map((e) => e.text), ['1', '2'])
  await sandbox.removeCodeContext(second.id)
  await raises(Error, () => sandbox.runCode('1', { context: second, language: 'python' }))
})
check('languages', async () => {
  equal((await sandbox.runCode('1 + 1', { language: 'python' })).text, '2')
  await raises(SandboxError, () => sandbox.runCode('1', { language: 'no-such-language' }), '"no-such-language" not found')
  await raises(SandboxError, () => sandbox.createCodeContext({ language: 'no-such-language' }), '"no-such-language" not found')
})
check('magics', async () => {
  equal((await sandbox.runCode('!echo from a shell')).logs.stdout.join('').trim(), 'from a shell')
  equal((await sandbox.runCode('%%bash\necho from bash')).logs.stdout.join(''), 'from bash\n')
  if (docker) equal((await sandbox.runCode('!pwd')).logs.stdout.join('').trim(), '/home/user')
})
check('a time-out, and the next run', async () => {
  await raises(TimeoutError, () => sandbox.runCode('import time; time.sleep(60)', { timeoutMs: 1000 }))
  equal((await sandbox.runCode('1 + 1')).text, '2')
  equal((await sandbox.runCode('x')).text, '42', 'the variables are kept')
})
check('runs in a row are told apart', async () => {
  const runs = await Promise.all(Array.from({ length: 20 }, (_, i) => sandbox.runCode(`print(${i}); ${i}`)))
  equal(runs.map((r) => [r.text, r.logs.stdout.join('')]), runs.map((_, i) => [`${i}`, `${i}\n`]))
})
check('another handle sees the same', async () => {
  const again = await Sandbox.connect(sandbox.sandboxId)
  equal((await again.runCode('x')).text, '42')
})
check('a token for traffic', async () => {
  const closed = await Sandbox.create({ network: { allowPublicTraffic: false } })
  equal((await closed.runCode('1 + 1')).text, '2')
  const context = await closed.createCodeContext()
  truthy((await closed.listCodeContexts()).some((c) => c.id === context.id), 'listed')
  await closed.kill()
})
check('a kill during a run', async () => {
  const doomed = await Sandbox.create()
  let began
  const running = doomed.runCode('print("began", flush=True); import time; time.sleep(300)', { onStdout: () => { began = true } })
  running.catch(() => {})
  await until('it runs', () => began)
  await doomed.kill()
  await raises(TimeoutError, running)
  await raises(TimeoutError, () => doomed.runCode('1'))
})

main(
  async () => {
    sandbox = await Sandbox.create({ timeoutMs: 600_000, envs: { FROM_CREATE: 'yes' } })
  },
  () => sandbox.kill(),
)
