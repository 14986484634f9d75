// JupyterLab's own client of kernels, @jupyterlab/services, against BASE_URL with TOKEN. Each line of output is a check: "ok NAME" or
// "FAIL NAME: why". PROXY is set when a jupyter_server passes on what is said; it can't pass on buffers.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

const require = createRequire(process.env.MODULES + '/');
const { KernelManager, KernelSpecManager, ServerConnection } = require('@jupyterlab/services');

const baseUrl = process.env.BASE_URL;
const proxy = process.env.PROXY === '1';
const serverSettings = ServerConnection.makeSettings({
  baseUrl, wsUrl: baseUrl.replace(/^http/, 'ws'), token: process.env.TOKEN, appendToken: true,
});
const kernels = new KernelManager({ serverSettings });
let kernel;

// The manager polls each ten seconds; here it is asked.
async function running() {
  await kernels.refreshRunning();
  return Array.from(kernels.running()).map(model => model.id);
}

// execute runs code and gives its reply and all that it showed.
async function execute(code, on = kernel, options = {}) {
  const future = on.requestExecute({ code, ...options });
  const outputs = [];
  future.onIOPub = msg => outputs.push(msg);
  const reply = await future.done;
  return { reply, outputs, text: outputs.filter(m => m.header.msg_type === 'stream').map(m => m.content.text).join('') };
}

// status waits until a kernel has a status, or has had it when seen says so.
function status(on, wanted) {
  return new Promise(resolve => {
    const check = () => {
      if (on.status !== wanted) return;
      on.statusChanged.disconnect(check);
      resolve();
    };
    on.statusChanged.connect(check);
    check();
  });
}

const checks = {
  async specs() {
    const specs = new KernelSpecManager({ serverSettings });
    await specs.ready;
    assert.equal(specs.specs.default, 'python3');
    assert.equal(specs.specs.kernelspecs.python3.language, 'python');
    specs.dispose();
  },
  async start() {
    await kernels.ready;
    kernel = await kernels.startNew({ name: 'python3' });
    const info = await kernel.info;
    assert.equal(info.language_info.name, 'python');
    assert.ok((await running()).includes(kernel.id));
    assert.equal((await kernels.findById(kernel.id)).name, 'python3');
  },
  async execute() {
    const { reply, outputs, text } = await execute('print("hi"); 6*7');
    assert.equal(reply.content.status, 'ok');
    assert.equal(text, 'hi\n');
    const result = outputs.find(m => m.header.msg_type === 'execute_result');
    assert.equal(result.content.data['text/plain'], '42');
  },
  async 'errors end the cells behind'() {
    const all = ['1/0', 'never = 1', 'never = 2'].map(code => execute(code, kernel, { stop_on_error: true }));
    const replies = (await Promise.all(all)).map(r => r.reply.content);
    assert.equal(replies[0].ename, 'ZeroDivisionError');
    assert.deepEqual(replies.slice(1).map(r => r.status), ['aborted', 'aborted']);
    const { reply } = await execute('never');
    assert.equal(reply.content.ename, 'NameError');
  },
  async 'other requests'() {
    await execute('import os\nvalue = 1');
    const complete = await kernel.requestComplete({ code: 'os.getc', cursor_pos: 7 });
    assert.ok(complete.content.matches.some(m => m.endsWith('getcwd')));
    const inspect = await kernel.requestInspect({ code: 'value', cursor_pos: 5, detail_level: 0 });
    assert.equal(inspect.content.found, true);
    const whole = await kernel.requestIsComplete({ code: 'for i in x:' });
    assert.equal(whole.content.status, 'incomplete');
    const history = await kernel.requestHistory({ hist_access_type: 'tail', n: 1, output: false, raw: true });
    assert.equal(history.content.status, 'ok');
    const comms = await kernel.requestCommInfo({});
    assert.equal(comms.content.status, 'ok');
  },
  async input() {
    const future = kernel.requestExecute({ code: 'print("hello", input("name? "))', allow_stdin: true });
    let text = '';
    future.onStdin = msg => {
      assert.equal(msg.content.prompt, 'name? ');
      kernel.sendInputReply({ status: 'ok', value: 'Ada' }, msg.header);
    };
    future.onIOPub = msg => { if (msg.header.msg_type === 'stream') text += msg.content.text; };
    await future.done;
    assert.equal(text.trim(), 'hello Ada');
  },
  async 'comms with buffers'() {
    await execute(`
def opened(comm, msg):
    @comm.on_msg
    def answer(m):
        comm.send({"sizes": [len(b) for b in m["buffers"]]}, buffers=[] if ${proxy ? 'True' : 'False'} else [bytes(b)[::-1] for b in m["buffers"]])
try:
    from comm import get_comm_manager
    manager = get_comm_manager()
except ImportError:
    manager = get_ipython().kernel.comm_manager
manager.register_target("echo", opened)`);
    const comm = kernel.createComm('echo');
    const answered = new Promise(resolve => { comm.onMsg = resolve; });
    comm.open({});
    comm.send({}, undefined, [new Uint8Array([0, 1, 254, 255]).buffer, new ArrayBuffer(0)]);
    const msg = await answered;
    assert.deepEqual(msg.content.data.sizes, [4, 0]);
    if (!proxy) {
      assert.equal(msg.buffers.length, 2);
      assert.deepEqual(Array.from(new Uint8Array(msg.buffers[0].buffer ?? msg.buffers[0])), [255, 254, 1, 0]);
    }
    comm.close();
  },
  async interrupt() {
    // Not at its execute_input: between that and the code ipykernel loses an interrupt.
    const future = kernel.requestExecute({ code: 'import time\nprint("runs", flush=True)\ntime.sleep(60)' });
    await new Promise(resolve => { future.onIOPub = m => { if (m.header.msg_type === 'stream') resolve(); }; });
    await kernel.interrupt();
    assert.equal((await future.done).content.ename, 'KeyboardInterrupt');
  },
  async 'another connection sees it all'() {
    const other = kernels.connectTo({ model: kernel.model });
    await other.info;
    const seen = new Promise(resolve => other.iopubMessage.connect((_, m) => { if (m.content.text === 'shared\n') resolve(m); }));
    await execute('print("shared")');
    await seen;
    other.dispose();
  },
  async reconnect() {
    await execute('kept = 5');
    await kernel.reconnect();
    const { text } = await execute('print(kept)');
    assert.equal(text, '5\n');
  },
  async restart() {
    const id = kernel.id;
    await kernel.restart();
    await kernel.info;
    assert.equal(kernel.id, id);
    assert.equal((await execute('kept')).reply.content.ename, 'NameError');
  },
  async 'death and revival'() {
    const revived = status(kernel, 'autorestarting');
    const future = kernel.requestExecute({ code: 'import os\nos._exit(3)' });
    const told = new Promise(resolve => { future.onIOPub = m => { if (m.header.msg_type === 'error') resolve(m.content); }; });
    future.done.catch(() => {}); // JupyterLab forgets what ran
    assert.equal((await told).ename, 'KernelDied');
    await revived;
    await status(kernel, 'idle');
    assert.equal((await execute('print("alive")')).text, 'alive\n');
  },
  async shutdown() {
    const { id } = kernel;
    await kernel.shutdown();
    assert.equal(kernel.isDisposed || kernel.status === 'dead', true);
    assert.ok(!(await running()).includes(id));
  },
};

let failed = false;
for (const [name, check] of Object.entries(checks)) {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error('took too long')), 60_000); });
  try {
    await Promise.race([check(), late]);
    console.log('ok', name);
  } catch (error) {
    failed = true;
    console.log(`FAIL ${name}: ${String(error?.stack ?? error).replaceAll('\n', ' | ')}`);
    if (!kernel) break;
  }
  clearTimeout(timer);
}
kernels.dispose();
process.exit(failed ? 1 : 0);
