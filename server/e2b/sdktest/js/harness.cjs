// What all programs have: checks, each of which prints one line that says how it went.
const { isDeepStrictEqual, inspect } = require('node:util')

const checks = []
const docker = process.env.DS_TEST_BACKEND === 'docker'

// check adds a check; those with { docker: true } are about what only containers have.
function check(name, run, { docker: needsDocker = false } = {}) {
  checks.push({ name, run, skipped: needsDocker && !docker })
}

function equal(got, want, what = '') {
  if (!isDeepStrictEqual(got, want)) throw new Error(`${what} got ${inspect(got)}, want ${inspect(want)}`)
}

function truthy(value, what) {
  if (!value) throw new Error(`${what}: ${inspect(value)}`)
}

// raises wants an error of a class, whose message has a text in it.
async function raises(kind, run, text = '') {
  let result
  try {
    result = await (typeof run === 'function' ? run() : run)
  } catch (error) {
    if (!(error instanceof kind)) throw new Error(`want ${kind.name}, got ${error?.name}: ${error?.message}`)
    if (!String(error.message).includes(text)) throw new Error(`want "${text}" in: ${error.message}`)
    return error
  }
  throw new Error(`want ${kind.name}, got ${inspect(result)}`)
}

// until waits for what comes by and by.
async function until(what, test) {
  for (const end = Date.now() + 30_000; Date.now() < end; await new Promise((r) => setTimeout(r, 50))) {
    const value = await test()
    if (value) return value
  }
  throw new Error(`it never came to be that ${what}`)
}

const limit = 60_000

async function main(before, after) {
  let failed = 0
  const line = (text) => console.log(String(text).replaceAll('\n', ' | '))
  await before?.()
  for (const { name, run, skipped } of checks) {
    if (skipped) {
      line(`skip ${name}: only containers have it`)
      continue
    }
    let timer
    try {
      const late = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error(`not over after ${limit} ms`)), limit)
      })
      await Promise.race([run(), late])
      line(`ok ${name}`)
    } catch (error) {
      failed++
      line(`FAIL ${name}: ${error?.stack ?? error}`)
    } finally {
      clearTimeout(timer)
    }
  }
  await after?.()
  process.exit(failed ? 1 : 0)
}

module.exports = { check, equal, truthy, raises, until, main, docker }
