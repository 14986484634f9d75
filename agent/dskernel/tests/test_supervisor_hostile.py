"""What processes of a sandbox do to stay, and what becomes of it. Linux only, except for a host that
vanishes.
"""

import os
import signal
import subprocess
import sys
import time
import uuid

import pytest
from supervise import FOLDER, alive, host, marked, run, start, wait_gone, wait_marked

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a child subreaper")

# Each program carries a mark as an argument, by which the test finds whatever it has become.
ESCAPE = """
import os, signal, sys, time
for n in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): signal.signal(n, signal.SIG_IGN)
def away():
    if os.fork(): return
    os.setsid()
    if os.fork(): os._exit(0)
    if os.fork() == 0: os.setsid()
    while True: time.sleep(1000)
for _ in range(int(sys.argv[2])): away()
while True: time.sleep(1000)
"""

BOMB = """
import os, sys, time
end = time.monotonic() + 20
limit = int(sys.argv[2])
generation = 0
while time.monotonic() < end:
    if generation < limit:
        generation += 1
        if os.fork() == 0: os.setsid()
    else:
        time.sleep(0.001)
"""

CHAIN = """
import os, sys, time
end = time.monotonic() + 30
while time.monotonic() < end:
    if os.fork(): os._exit(0)
    os.setsid()
"""

RESPAWN = """
import os, signal, sys, time
def child():
    while True: time.sleep(1000)
def spawn(*_):
    if os.fork() == 0: child()
for _ in range(10): spawn()
while True:
    try:
        os.wait(); spawn()
    except InterruptedError: pass
"""


@pytest.fixture
def mark():
    name = "mark-" + uuid.uuid4().hex
    yield name
    for pid in marked(name):  # only when the test has failed
        os.kill(pid, signal.SIGKILL)


def program(python, code, mark, *args):
    return [python, "-I", "-S", "-c", code, mark, *map(str, args)]


def test_kill_all_finds_what_has_double_forked_and_ignores_signals(python, mark):
    with host(python) as h:
        keeper, _ = h.keep()
        start(keeper, program(python, ESCAPE, mark, 10))
        pids = wait_marked(mark, 21)
        assert set(pids) <= set(keeper.call("descendants")["pids"])
        answer = keeper.call("kill_all")
        assert answer["left"] == 0 and answer["killed"] >= 21, answer
        assert marked(mark) == []
        assert keeper.call("descendants")["pids"] == []
        assert keeper.call("kill_all") == {"id": keeper.number, "killed": 0, "left": 0}
        assert run(keeper, ["/bin/echo", "again"])[1] == "again\n"


def test_kill_all_outruns_a_fork_bomb(python, mark):
    with host(python) as h:
        keeper, _ = h.keep()
        # Every generation doubles: 2 to the power of 8 processes, each in a session of its own.
        start(keeper, program(python, BOMB, mark, 8))
        wait_marked(mark, 100)
        begun = time.monotonic()
        answer = keeper.call("kill_all")
        assert answer["left"] == 0 and time.monotonic() - begun < 2.5, answer
        assert marked(mark) == []


def test_kill_all_catches_a_process_that_runs_away_by_forking(python, mark):
    with host(python) as h:
        keeper, _ = h.keep()
        for _ in range(2):
            start(keeper, program(python, CHAIN, mark))
        wait_marked(mark, 1)
        answer = keeper.call("kill_all")
        assert answer["left"] == 0, answer
        time.sleep(0.05)
        assert marked(mark) == []


def test_kill_all_ends_what_is_started_anew_and_what_is_stopped(python, mark):
    with host(python) as h:
        keeper, _ = h.keep()
        start(keeper, program(python, RESPAWN, mark))
        stopped = start(keeper, program(python, ESCAPE, mark, 0))["pid"]
        keeper.call("signal", pid=stopped, signal="SIGSTOP")
        wait_marked(mark, 12)
        assert keeper.call("kill_all")["left"] == 0
        assert marked(mark) == []
        assert keeper.event("exit", stopped)["signal"] == "SIGKILL"


def test_orphans_are_adopted_and_reaped_in_silence(python):
    with host(python) as h:
        keeper, pid = h.keep()
        run(keeper, ["/bin/sh", "-c", "for i in 1 2 3 4 5; do (sleep 0.05 &) ; done"])
        deadline = time.monotonic() + 10
        children = "/proc/%d/task/%d/children" % (pid, pid)
        while open(children).read().strip():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        keeper.call("descendants")
        assert keeper.events == []


def test_code_that_kills_its_keeper_dies_with_it(python, mark):
    with host(python) as h:
        other, _ = h.keep("other")
        bystander = start(other, ["/bin/sleep", "1000"])["pid"]
        keeper, pid = h.keep()
        start(keeper, program(python, ESCAPE, mark, 10))
        pids = wait_marked(mark, 21)
        murder = "import os, signal, sys, time; os.kill(int(sys.argv[2]), signal.SIGKILL); time.sleep(1000)"
        double = "import os\nif os.fork(): os._exit(0)\nos.setsid()\n" + murder.replace("; time", "\ntime")
        start(keeper, program(python, double, mark, pid))
        h.wire.event("keeper_exit", pid)
        keeper.wait_end()
        assert wait_gone(pids) < 2
        begun = time.monotonic()
        while marked(mark):
            assert time.monotonic() - begun < 2
        assert alive(bystander)
        assert run(other, ["/bin/echo", "unharmed"])[1] == "unharmed\n"
        h.keep("next")


def test_stray_that_forks_for_its_life_is_caught(python, mark):
    with host(python) as h:
        keeper, pid = h.keep()
        for _ in range(2):
            start(keeper, program(python, CHAIN, mark))
        # PDEATHSIG is gone after the first fork, so these outlive their keeper.
        wait_marked(mark, 1)
        os.kill(pid, signal.SIGKILL)
        h.wire.event("keeper_exit", pid)
        begun = time.monotonic()
        quiet = 0
        while quiet < 20:
            quiet = 0 if marked(mark) else quiet + 1
            assert time.monotonic() - begun < 10
        h.keep("next")


def test_stopped_keeper_goes_on(python):
    with host(python) as h:
        keeper, pid = h.keep()
        os.kill(pid, signal.SIGSTOP)
        assert run(keeper, ["/bin/echo", "on"])[1] == "on\n"


def test_killed_supervisor_takes_everything_along(python, mark):
    with host(python) as h:
        keepers = [h.keep() for _ in range(3)]
        for keeper, _ in keepers:
            start(keeper, program(python, ESCAPE, mark, 5))
        pids = wait_marked(mark, 33) + [pid for _, pid in keepers]
        h.process.kill()
        assert wait_gone(pids) < 2
        assert marked(mark) == []


HOST = """
import sys, time
sys.path.insert(0, sys.argv[1])
from supervise import Host, start
h = Host(sys.argv[2])
for _ in range(2):
    keeper, pid = h.keep()
    start(keeper, [sys.argv[2], "-I", "-S", "-c", sys.argv[3], sys.argv[4], "10"])
    h.all = getattr(h, "all", []) + [keeper]
    print(pid, flush=True)
print(h.process.pid, flush=True)
time.sleep(1000)
"""


def test_host_that_vanishes_leaves_nothing(python, mark):
    args = [sys.executable, "-c", HOST, str(FOLDER / "tests"), python, ESCAPE, mark]
    vanishing = subprocess.Popen(args, stdout=subprocess.PIPE, text=True)
    try:
        ours = [int(vanishing.stdout.readline()) for _ in range(3)]
        # The host carries the mark among its own arguments.
        pids = [p for p in wait_marked(mark, 43) if p != vanishing.pid] + ours
    finally:
        vanishing.kill()
        vanishing.wait()
        vanishing.stdout.close()
    assert wait_gone(pids, 2) < 2
    assert marked(mark) == []


def test_host_that_does_not_read_loses_its_processes_only(python):
    with host(python) as h:
        deaf, pid = h.keep()
        sleeper = start(deaf, ["/bin/sleep", "1000"])["pid"]
        deaf.sock.setblocking(False)
        line = b'{"id":"%s","op":"signal","pid":0,"signal":"SIGINT"}\n' % (b"x" * 4000)
        deadline = time.monotonic() + 10
        while alive(pid):
            assert time.monotonic() < deadline
            try:
                deaf.sock.send(line)
            except BlockingIOError:
                time.sleep(0.001)
            except OSError:
                break
        h.wire.event("keeper_exit", pid)
        assert not alive(sleeper)
        assert run(h.keep()[0], ["/bin/echo", "on"])[1] == "on\n"
