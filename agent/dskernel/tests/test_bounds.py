"""What programs are bound by, and pauses."""

import os
import sys
import time
from pathlib import Path

import pytest
from supervise import host, start, wait_marked

NULL = os.devnull
SHOW = "import os, resource\n"
SHOW += "print([resource.getrlimit(getattr(resource, 'RLIMIT_' + n)) for n in ('FSIZE', 'NOFILE', 'CPU')])"


def start_bound(keeper, argv, limits, stdout=None):
    null = os.open(NULL, os.O_RDWR)
    try:
        out = null if stdout is None else stdout
        return keeper.call(
            "start", [null, out, out], argv=argv, env={"PATH": os.defpath}, cwd="/", limits=limits
        )
    finally:
        os.close(null)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_program_is_bound_before_it_runs(python, tmp_path):
    group = tmp_path / "cgroup.procs"
    group.touch()
    rlimits = {"RLIMIT_FSIZE": 1000, "RLIMIT_NOFILE": 8, "RLIMIT_CPU": 7}
    limits = {"groups": [str(group)], "rlimits": rlimits}
    with host(python) as h:
        keeper, _ = h.keep()
        read, write = os.pipe()
        answer = start_bound(keeper, [python, "-I", "-S", "-c", SHOW], limits, write)
        os.close(write)
        with open(read) as f:
            assert f.read() == "[(1000, 1000), (8, 8), (7, 7)]\n"
        assert keeper.event("exit", answer["pid"])["code"] == 0
    assert group.read_text() == "0", "the program itself joins"


def test_program_that_cannot_be_bound_does_not_run(python, tmp_path):
    with host(python) as h:
        keeper, _ = h.keep()
        refused = start_bound(keeper, ["/bin/true"], {"groups": [str(tmp_path / "none" / "cgroup.procs")]})
        assert refused["stage"] == "limits" and "error" in refused
        for limits in (
            {"rlimits": {"NOFILE": 1}},
            {"rlimits": {"RLIMIT_X": 1}},
            {"rlimits": 3},
            [1],
        ):
            assert "bad request" in start_bound(keeper, ["/bin/true"], limits)["error"]
        assert "pid" in start_bound(keeper, ["/bin/true"], None)


def state(pid: int) -> str:
    return Path("/proc/%d/stat" % pid).read_text().rpartition(")")[2].split()[0]


def wait_state(pids, wanted: str) -> None:
    deadline = time.monotonic() + 15
    while any(state(p) not in wanted for p in pids):
        assert time.monotonic() < deadline, [state(p) for p in pids]
        time.sleep(0.002)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_pause_stops_all_and_resume_continues_what_it_stopped(python):
    mark = "pause-of-test-%d" % os.getpid()
    code = "import os, sys, time\nfor _ in range(3): os.fork()\nos.setsid() if os.fork() == 0 else 0\n"
    code += "end = time.monotonic() + 60\nwhile time.monotonic() < end: pass"
    with host(python) as h:
        keeper, _ = h.keep()
        start(keeper, [python, "-I", "-S", "-c", code, mark])
        pids = wait_marked(mark, 16)
        asleep = start(keeper, ["/bin/sh", "-c", "kill -STOP $$"])["pid"]
        wait_state([asleep], "T")
        for _ in range(2):
            assert "error" not in keeper.call("pause")
            assert {state(p) for p in pids} == {"T"}
        assert "error" not in keeper.call("resume")
        wait_state(pids, "RS")
        assert state(asleep) == "T", "what the code stopped itself stays so"
        assert "error" not in keeper.call("resume")
        keeper.call("pause")
        begun = time.monotonic()
        answer = keeper.call("kill_all")
        assert answer["left"] == 0 and time.monotonic() - begun < 2


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_freezer_is_written_and_thawed_before_the_kill(python, tmp_path):
    freezer = tmp_path / "cgroup.freeze"
    (tmp_path / "cgroup.events").write_text("populated 1\nfrozen 1\n")
    with host(python) as h:
        keeper, _ = h.keep()
        assert "error" in keeper.call("pause", freezer=str(tmp_path / "none" / "cgroup.freeze"))
        assert "error" not in keeper.call("pause", freezer=str(freezer))
        assert freezer.read_text() == "1"
        keeper.call("resume")
        assert freezer.read_text() == "0"
        keeper.call("pause", freezer=str(freezer))
        keeper.call("kill_all")
        assert freezer.read_text() == "0"
