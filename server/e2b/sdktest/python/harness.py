"""What all programs have: checks, each of which prints one line that says how it went."""

import asyncio
import faulthandler
import inspect
import os
import sys
import time
import traceback

DOCKER = os.environ["DS_TEST_BACKEND"] == "docker"
URL = os.environ["E2B_SANDBOX_URL"]
SMALL_KEY = os.environ["DS_TEST_SMALL_KEY"]
checks = []


def check(name, docker=False):
    """Add a check; those with docker are about what only containers have."""

    def add(run):
        checks.append((name, run, docker and not DOCKER))
        return run

    return add


class Raises:
    """Want an error of a class, whose message has a text in it."""

    def __init__(self, kind, text=""):
        self.kind, self.text, self.error = kind, text, None

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        assert error is not None, f"no {self.kind.__name__} was raised"
        if not isinstance(error, self.kind):
            return False
        assert self.text in str(error), f"want {self.text!r} in: {error}"
        self.error = error
        return True


def until(what, test, patience=30):
    """Wait for what comes by and by."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        value = test()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"it never came to be that {what}")


def say(text):
    print(text.replace("\n", " | "), flush=True)


async def run_all():
    failed = False
    for name, run, skipped in checks:
        if skipped:
            say(f"skip {name}: only containers have it")
            continue
        faulthandler.dump_traceback_later(70)  # one that stands still says where
        try:
            result = run()
            if inspect.isawaitable(result):
                await asyncio.wait_for(result, 60)
            say(f"ok {name}")
        except Exception:
            failed = True
            say(f"FAIL {name}: {traceback.format_exc()}")
    return failed


def main():
    failed = asyncio.run(run_all())
    sys.stdout.flush()
    os._exit(failed)  # no end of the interpreter: native threads of the SDK's HTTP client may abort in it
