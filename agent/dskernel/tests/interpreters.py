"""Which Pythons the tests run."""

from __future__ import annotations

import functools
import os
import subprocess
import sys


def listed() -> list[str]:
    """Returns the interpreters that the environment names, or those that are usually there."""
    named = os.environ.get("DS_SANDBOX_TEST_PYTHONS", "")
    if named:
        return [p for p in named.split(":") if p]
    return list(
        dict.fromkeys(
            p for p in (os.environ.get("DS_SANDBOX_PYTHON"), sys.executable, "/usr/bin/python3") if p
        )
    )


@functools.lru_cache(None)
def has(python: str, module: str) -> bool:
    """Reports whether an interpreter can import a module."""
    try:
        return (
            subprocess.run([python, "-c", "import " + module], capture_output=True, timeout=60).returncode
            == 0
        )
    except (OSError, subprocess.TimeoutExpired):
        return False


def kernels() -> list[str]:
    """Returns the interpreters that have ipykernel."""
    return [p for p in listed() if has(p, "ipykernel")]
