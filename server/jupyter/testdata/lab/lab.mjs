// Drives the JupyterLab at LAB in a headless Chromium: TOKEN is its token and the key of the DAEMON that has its kernels. It says what it
// saw, a line for each check, and draws what it saw in SHOTS. The checks follow one another in one notebook.

import { createRequire } from "node:module";

const { chromium } = createRequire(`${process.env.MODULES}/`)("playwright-core");
const { LAB: url, TOKEN: token, DAEMON: daemon, BROWSER: executablePath, SHOTS: shots } = process.env;
const PATIENCE = 60_000;

const browser = await chromium.launch({
  executablePath, args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"],
});
// High enough for all cells: Lab drops what is out of sight.
const page = await browser.newPage({ viewport: { width: 1200, height: 1600 } });
page.setDefaultTimeout(PATIENCE);
const complaints = [];
page.on("pageerror", (e) => complaints.push(e.stack));

function same(got, want) {
  const [a, b] = [got, want].map((v) => JSON.stringify(v));
  if (a !== b) throw new Error(`got ${a}, want ${b}`);
}

async function ask(path) {
  const response = await fetch(daemon + path, { headers: { "X-API-Key": token } });
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  return response.headers.get("Content-Type")?.startsWith("application/json") ? response.json() : response.text();
}

/** Runs code in the last cell, which puts an empty one behind it, and gives the cell. */
async function run(code) {
  const cells = page.locator(".jp-Notebook .jp-CodeCell");
  const n = await cells.count();
  const cell = cells.nth(n - 1);
  await cell.locator(".cm-content").fill(code);
  await page.keyboard.press("Shift+Enter");
  await cells.nth(n).waitFor();
  return cell;
}

/** Waits until a cell's prompt is that of the run of a number. */
const ran = (cell, number) => cell.locator(`.jp-InputPrompt:text-is("[${number}]:")`).waitFor();
const output = (cell, kind) => cell.locator(`.jp-OutputArea-output[data-mime-type="${kind}"]`);
const printed = (cell) => output(cell, "application/vnd.jupyter.stdout");
const error = (cell, name) => output(cell, "application/vnd.jupyter.stderr").filter({ hasText: name }).waitFor();
const status = (name) => page.waitForSelector(`.jp-Notebook-ExecutionIndicator[data-status="${name}"]`);
const press = (command) => page.click(`.jp-NotebookPanel-toolbar [data-command="notebook:${command}"]`);

let kernel;

const checks = {
  async "it starts and lists our kernels"() {
    await page.goto(`${url}/lab?token=${token}`);
    const { default: name, kernelspecs } = await ask("/api/kernelspecs");
    await page.waitForSelector(`.jp-LauncherCard[data-category="Notebook"][title="${kernelspecs[name].spec.display_name}"]`);
    same(await ask("/api/kernels"), []);
  },

  async "a notebook gets a kernel, which is a sandbox"() {
    const started = page.waitForResponse((r) => r.request().method() === "POST" && r.url().includes("/api/sessions"));
    await page.click('.jp-LauncherCard[data-category="Notebook"]');
    const { id } = (await (await started).json()).kernel;
    await status("idle");
    [kernel] = await ask("/api/kernels");
    same(kernel.id, id);
    same((await ask("/v2/sandboxes")).map((s) => s.sandboxID), [kernel.sandbox_id]);
  },

  async "cells run"() {
    const cell = await run("x = 6 * 7\nprint('hello from', 'a sandbox', file=open('made.txt', 'w'))\nprint(open('made.txt').read())\nx");
    await ran(cell, 1);
    same(await printed(cell).textContent(), "hello from a sandbox\n\n");
    same(await output(cell, "text/plain").textContent(), "42");
    same(await ask(`/sandboxes/${kernel.sandbox_id}/workspace/made.txt`), "hello from a sandbox\n");
  },

  async "a figure is shown"() {
    const cell = await run("import matplotlib.pyplot as plt\nplt.plot([1, 3, 2])\nplt.show()");
    const image = output(cell, "image/png").locator("img");
    await image.waitFor();
    same(await image.evaluate((e) => e.decode().then(() => e.naturalWidth > 100 && e.naturalHeight > 100)), true);
    await ran(cell, 2);
  },

  async "input is asked for and answered"() {
    const cell = await run("print('so it is', input('who is it? '))");
    const stdin = cell.locator(".jp-Stdin");
    await stdin.locator(':text-is("who is it? ")').waitFor();
    await stdin.locator("input").fill("Ada");
    await stdin.locator("input").press("Enter");
    await ran(cell, 3);
    same((await cell.locator(".jp-OutputArea").textContent()).includes("so it is Ada"), true);
  },

  async "a running cell is interrupted"() {
    const cell = await run("import time\nprint('runs', flush=True)\ntime.sleep(600)");
    await printed(cell).filter({ hasText: "runs" }).waitFor();
    await status("busy");
    await press("interrupt-kernel");
    await error(cell, "KeyboardInterrupt");
    await ran(cell, 4);
    const next = await run("x");
    await ran(next, 5);
    same(await output(next, "text/plain").textContent(), "42");
  },

  async "the kernel is restarted"() {
    const restarted = page.waitForResponse((r) => new URL(r.url()).pathname === `/api/kernels/${kernel.id}/restart`);
    await press("restart-kernel");
    await page.click(".jp-Dialog .jp-mod-accept");
    same((await restarted).status(), 200);
    await status("idle");
    const cell = await run("x");
    await error(cell, "NameError");
    await ran(cell, 1);
    same((await ask("/api/kernels")).map((k) => k.id), [kernel.id]);
  },

  async "it is shut down with its sandbox"() {
    const ended = page.waitForResponse((r) => r.request().method() === "DELETE" && r.url().includes("/api/sessions/"));
    await page.getByRole("menuitem", { name: "Kernel", exact: true }).click();
    await page.getByRole("menuitem", { name: "Shut Down Kernel", exact: true }).click();
    same((await ended).status(), 204);
    same(await ask("/v2/sandboxes"), []);
  },

  async "the page had no errors"() {
    same(complaints, []);
  },
};

for (const [name, check] of Object.entries(checks)) {
  let failed;
  await check().catch((e) => { failed = e; });
  await page.screenshot({ path: `${shots}/${name.replaceAll(/\W+/g, "-")}.png` });
  console.log(failed ? `FAIL ${name}: ${(failed.stack ?? String(failed)).replaceAll("\n", "\\n")}` : `ok ${name}`);
  if (failed) break; // those behind need what it did
}
await browser.close();
