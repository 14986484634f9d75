"""Tests of standby.py: the fork that waits for the next order."""

import os
import signal
import time
from pathlib import Path

from branching import Parked
from supervise import wait_gone


def children(parked):
    """Returns the processes that a copy has forked."""
    text = Path("/proc/%d/task/%d/children" % (parked.pid, parked.pid)).read_text()
    return {int(pid) for pid in text.split()}


def wait_ready(parked, *others):
    """Waits until a copy has one fork but those, and returns it."""
    deadline = time.monotonic() + 20
    while len(found := children(parked) - set(others)) != 1:
        assert time.monotonic() < deadline, found
        time.sleep(0.01)
    return found.pop()


def test_the_next_fork_waits_for_its_order(kernel):
    kernel.run("import os; x = 5")
    with Parked(kernel) as parked:
        assert children(parked) == set()
        with parked.wake() as first:
            ready = wait_ready(parked, first.pid)
            with parked.wake() as second:
                assert second.pid == ready
                assert second.run("x, os.getpid() == os.getsid(0)").result == "(5, True)"
                killed = wait_ready(parked, first.pid, second.pid)
                os.kill(killed, signal.SIGKILL)
                with parked.wake() as third:
                    assert third.run("x").result == "5"
                    ready = wait_ready(parked, first.pid, second.pid, third.pid, killed)
                    with parked.wake(stay=False) as last, Parked(last) as again:
                        assert last.pid == parked.pid
                        wait_gone([ready])
                        assert not [w for w in again.warnings if "%d (" % ready in w]


def test_the_fork_that_waits_ends_with_its_copy(kernel):
    with Parked(kernel) as parked, parked.wake() as copy:
        ready = wait_ready(parked, copy.pid)
        os.kill(parked.pid, signal.SIGKILL)
        wait_gone([ready])
        assert copy.run("5").result == "5"
