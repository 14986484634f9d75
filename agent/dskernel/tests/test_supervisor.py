"""The supervisor's wire."""

import errno
import json
import os
import signal
import time
from contextlib import suppress

import pytest
from supervise import PATIENCE, alive, host, run, start, wait_gone


def test_process_starts_and_its_end_is_reported(python):
    with host(python) as h:
        keeper, _ = h.keep()
        begun = time.monotonic()
        exit_, output = run(keeper, ["/bin/sh", "-c", "echo out; echo err >&2; exit 3"])
        assert time.monotonic() - begun < 2
        assert output == "out\nerr\n"
        assert exit_["code"] == 3 and "signal" not in exit_
        assert exit_["utime"] >= 0 and exit_["stime"] >= 0 and exit_["maxrss"] > 100_000


def test_process_gets_exactly_what_was_asked(python, tmp_path):
    code = "import os, sys, json; leads = os.getsid(0) == os.getpid()\n"
    code += "print(json.dumps([sys.argv[1:], dict(os.environ), os.getcwd(), leads]))"
    argv = [python, "-I", "-S", "-c", code, "a b", "", "ü\n"]
    env = {"LC_ALL": "C.UTF-8", "Ä": "1=2", "EMPTY": ""}
    with host(python, env={"SECRET": "of the host", "LC_ALL": "POSIX"}) as h:
        keeper, _ = h.keep()
        exit_, output = run(keeper, argv, env=env, cwd=str(tmp_path))
        assert exit_["code"] == 0
        args, got, cwd, leads = json.loads(output)
        got.pop("__CF_USER_TEXT_ENCODING", None)  # macOS
        assert (args, got, cwd, leads) == (["a b", "", "ü\n"], env, str(tmp_path), True)


def test_name_without_slash_is_looked_up_on_the_path_given(python, tmp_path):
    for folder, mode in (("first", 0o600), ("second", 0o700)):
        (tmp_path / folder).mkdir()
        tool = tmp_path / folder / "tool-of-test"
        tool.write_text("#!/bin/sh\necho " + folder + "\n")
        tool.chmod(mode)
    path = ":".join(str(tmp_path / d) for d in ("none", "first", "second"))
    with host(python) as h:
        keeper, _ = h.keep()
        _, output = run(keeper, ["tool-of-test"], env={"PATH": path})
        assert output == "second\n"
        refused = start(keeper, ["tool-of-test"], env={"PATH": str(tmp_path / "first")})
        assert (refused["stage"], refused["errno"]) == ("exec", errno.EACCES)
        missing = start(keeper, ["tool-of-test"], env={})
        assert (missing["stage"], missing["errno"]) == ("exec", errno.ENOENT)


def test_failed_start_says_what_failed(python, tmp_path):
    text = tmp_path / "text"
    text.write_text("no program")
    text.chmod(0o700)
    with host(python) as h:
        keeper, _ = h.keep()
        for argv, cwd, stage, number, message in (
            (["/no/such"], "/", "exec", errno.ENOENT, "exec: No such file or directory: /no/such"),
            ([str(text)], "/", "exec", errno.ENOEXEC, "exec: Exec format error: %s" % text),
            (["/bin/true"], "/no/dir", "chdir", errno.ENOENT, "chdir: No such file or directory: /no/dir"),
            (
                ["/bin/true", "x" * 200_000],
                "/",
                "exec",
                errno.E2BIG,
                "exec: Argument list too long: /bin/true",
            ),
        ):
            answer = start(keeper, argv, cwd=cwd)
            assert (answer["stage"], answer["errno"], answer["error"]) == (stage, number, message)
        exit_, _ = run(keeper, ["/bin/true"])
        assert exit_["code"] == 0
        assert keeper.events == []  # a child that never executed is nobody's process


def test_bad_requests_are_answered_and_change_nothing(python):
    with host(python) as h:
        keeper, _ = h.keep()
        null = os.open(os.devnull, os.O_RDWR)
        good = {"argv": ["/bin/true"], "env": {}, "cwd": "/"}
        for op, fds, fields in (
            ("dance", 0, {}),
            ("start", 0, good),
            ("start", 2, good),
            ("start", 3, {**good, "argv": []}),
            ("start", 3, {**good, "argv": "ls"[:0]}),
            ("start", 3, {**good, "argv": [1]}),
            ("start", 3, {**good, "argv": ["a\0b"]}),
            ("start", 3, {**good, "env": {"A=B": "c"}}),
            ("start", 3, {**good, "env": ["A"]}),
            ("start", 3, {**good, "cwd": None}),
            ("signal", 0, {"pid": "x", "signal": "SIGINT"}),
            ("signal", 0, {"pid": 1, "signal": "SIG_DFL"}),
            ("signal", 0, {"signal": "SIGINT"}),
        ):
            answer = keeper.call(op, [null] * fds, **fields)
            assert answer["error"].startswith("bad request"), (op, fields, answer)
        os.close(null)
        for line in (
            b"not json\n",
            b"[1]\n",
            b"7\n",
            b'{"id":null,"fds":-1}\n',
            b'{"id":null,"fds":9}\n',
            b"\xff\xfe\n",
            b"[" * 100_000 + b"\n",
        ):
            keeper.write(line)
            assert keeper.answer(None)["error"].startswith("bad request")
        keeper.write(b"\n \n")
        assert h.wire.call("keep")["error"].startswith("bad request")
        exit_, output = run(keeper, ["/bin/echo", "still here"])
        assert (exit_["code"], output) == (0, "still here\n")


def test_message_comes_in_pieces_and_may_be_long(python):
    with host(python) as h:
        keeper, _ = h.keep()
        null = os.open(os.devnull, os.O_RDWR)
        number = keeper.number = keeper.number + 1
        fields = {"op": "start", "argv": ["/bin/true"], "env": {}, "cwd": "/", "ignored": "x" * 3_000_000}
        line = json.dumps({"id": number, "fds": 3, **fields}).encode() + b"\n"
        keeper.write(line[:1], [null] * 3)
        for at in range(1, 40):
            keeper.write(line[at : at + 1])
        keeper.write(line[40:])
        os.close(null)
        pid = keeper.answer(number)["pid"]
        assert keeper.event("exit", pid)["code"] == 0


def test_no_descriptor_of_ours_reaches_a_program(python):
    code = (
        "import os; d = '/proc/self/fd/'; print(sorted(map(int, os.listdir(d)))[:-1], os.readlink(d + '0'))"
    )
    with host(python) as h:
        others = [h.keep() for _ in range(3)]
        start(others[0][0], ["/bin/sleep", "1000"])
        keeper, pid = h.keep()
        start(keeper, ["/bin/sleep", "1000"])
        _, output = run(keeper, [python, "-I", "-S", "-c", code])
        assert output == "[0, 1, 2] /dev/null\n"
        with suppress(PermissionError):  # a keeper shows its descriptors to root only
            opened = os.listdir("/proc/%d/fd" % pid)
            # 0 to 2, the wire and the lifeline, two for waking; what was passed along is closed again.
            assert len(opened) == 7, opened


def test_program_starts_with_default_signals(python):
    with host(python) as h:
        keeper, _ = h.keep()
        _, output = run(keeper, ["/bin/cat", "/proc/self/status"])
        fields = dict(line.split(":\t", 1) for line in output.splitlines() if ":\t" in line)
        assert int(fields["SigBlk"], 16) == 0
        # Signals 32 and 33 are the C library's own; whoever started us may ignore them.
        assert int(fields["SigIgn"], 16) & ~0x180000000 == 0


def test_signal_reaches_the_group_or_the_process_alone(python):
    code = """
import os, signal
who = "leader"
def tell(*_):
    os.write(1, who.encode() + b"\\n")
    if who == "member": os._exit(0)
signal.signal(signal.SIGINT, tell)
if os.fork() == 0:
    who = "member"
    os.write(1, b"up\\n")
while True: signal.pause()
"""
    with host(python) as h:
        keeper, _ = h.keep()
        for group, wanted in ((True, {"leader", "member"}), (False, {"leader"})):
            read, write = os.pipe()
            pid = start(keeper, [python, "-I", "-S", "-c", code], stdout=write)["pid"]
            os.close(write)
            with open(read) as out:
                assert out.readline() == "up\n"
                assert "error" not in keeper.call("signal", pid=pid, signal="SIGINT", group=group)
                assert {out.readline().strip() for _ in wanted} == wanted
                keeper.call("signal", pid=pid, signal="SIGKILL", group=True)
                assert out.read() == ""
                assert keeper.event("exit", pid)["signal"] == "SIGKILL"


def test_signal_reaches_members_that_outlived_their_leader(python):
    code = "trap '' TERM; (echo $$; exec sleep 1000) & setsid sh -c 'echo away; exec sleep 1000' & exit 0"
    with host(python) as h:
        keeper, _ = h.keep()
        read, write = os.pipe()
        pid = start(keeper, ["/bin/sh", "-c", code], stdout=write)["pid"]
        os.close(write)
        with open(read) as out:
            assert {out.readline().strip(), out.readline().strip()} == {str(pid), "away"}
            keeper.event("exit", pid)
            assert len(keeper.call("descendants")["pids"]) == 2
            keeper.call("signal", pid=pid, signal="SIGKILL", group=False)
            assert len(keeper.call("descendants")["pids"]) == 2
            keeper.call("signal", pid=pid, signal="SIGKILL", group=True)
            until = time.monotonic() + PATIENCE
            while len(keeper.call("descendants")["pids"]) != 1:
                assert time.monotonic() < until
            keeper.call("kill_all")
            assert out.read() == ""


@pytest.mark.parametrize("tty", [True, False])
def test_terminal_is_the_controlling_one(python, tty):
    argv = ["/bin/sh", "-c", "(: </dev/tty) 2>/dev/null && echo yes || echo no"]
    master, device = os.openpty()
    try:
        with host(python) as h:
            keeper, _ = h.keep()
            pid = keeper.call("start", [device] * 3, argv=argv, env={}, cwd="/", tty=tty)["pid"]
            assert os.read(master, 1000).split()[-1] == (b"yes" if tty else b"no")
            keeper.event("exit", pid)
    finally:
        os.close(master)
        os.close(device)


def test_what_is_no_terminal_can_not_be_the_controlling_one(python):
    null = os.open(os.devnull, os.O_RDWR)
    try:
        with host(python) as h:
            keeper, _ = h.keep()
            answer = keeper.call("start", [null] * 3, argv=["/bin/true"], env={}, cwd="/", tty=True)
            assert answer["errno"] == errno.ENOTTY, answer
    finally:
        os.close(null)


def test_signal_to_a_finished_or_foreign_process_does_nothing(python):
    with host(python) as h:
        keeper, keeper_pid = h.keep()
        exit_, _ = run(keeper, ["/bin/true"])
        victim = os.fork()
        if victim == 0:
            os.setsid()
            signal.pause()
            os._exit(0)
        try:
            for pid in (exit_["pid"], victim, keeper_pid, h.process.pid, 1, 0, -1, 1 << 40):
                for group in (False, True):
                    answer = keeper.call("signal", pid=pid, signal="SIGKILL", group=group)
                    assert set(answer) == {"id"}, answer
            assert alive(victim) and alive(keeper_pid) and alive(h.process.pid)
        finally:
            os.kill(victim, signal.SIGKILL)
            os.waitpid(victim, 0)


def test_keeper_death_is_told(python):
    with host(python) as h:
        keeper, pid = h.keep()
        child = start(keeper, ["/bin/sleep", "1000"])["pid"]
        keeper.sock.close()
        h.wire.event("keeper_exit", pid)
        assert not alive(child)


def test_terminal_signals_end_neither_supervisor_nor_keeper(python):
    with host(python) as h:
        keeper, pid = h.keep()
        for target in (pid, h.process.pid):
            for number in (
                signal.SIGINT,
                signal.SIGTERM,
                signal.SIGHUP,
                signal.SIGQUIT,
                signal.SIGPIPE,
                signal.SIGUSR1,
                signal.SIGTSTP,
            ):
                os.kill(target, number)
        assert run(keeper, ["/bin/echo", "on"])[1] == "on\n"
        h.keep()
        assert os.getsid(pid) == pid and os.getsid(h.process.pid) == h.process.pid != os.getsid(0)


def test_many_keepers_and_processes_are_told_apart(python):
    with host(python) as h:
        keepers = [h.keep("box%d" % i)[0] for i in range(8)]
        asked = []
        null = os.open(os.devnull, os.O_RDWR)
        for n in range(25):
            for keeper in keepers:
                argv = ["/bin/sh", "-c", "exit %d" % n]
                asked.append((keeper, n, keeper.request("start", [null] * 3, argv=argv, env={}, cwd="/")))
        os.close(null)
        for keeper, n, number in asked:
            assert keeper.event("exit", keeper.answer(number)["pid"])["code"] == n


def test_answer_of_a_start_precedes_the_event_of_its_end(python):
    with host(python) as h:
        keeper, _ = h.keep()
        null = os.open(os.devnull, os.O_RDWR)
        numbers = [
            keeper.request("start", [null] * 3, argv=["/bin/true"], env={}, cwd="/") for _ in range(100)
        ]
        os.close(null)
        seen, rest, ended = set(), b"", 0
        while ended < len(numbers):
            *lines, rest = (rest + keeper.sock.recv(1 << 16)).split(b"\n")
            for message in map(json.loads, lines):
                if "event" in message:
                    assert message["pid"] in seen
                    ended += 1
                else:
                    seen.add(message["pid"])


@pytest.mark.parametrize("system", ["", "darwin"])
def test_kill_all_ends_groups_where_nothing_else_can_be_found(python, system):
    with host(python, system=system) as h:
        keeper, _ = h.keep()
        # A leader with a member, and a member whose leader has ended.
        read, write = os.pipe()
        start(keeper, ["/bin/sh", "-c", "sleep 1000 & echo $!; wait"], stdout=write)
        left = start(keeper, ["/bin/sh", "-c", "sleep 1000 & echo $!"], stdout=write)["pid"]
        os.close(write)
        with open(read) as out:
            members = [int(out.readline()), int(out.readline())]
        keeper.event("exit", left)
        answer = keeper.call("kill_all")
        assert answer["killed"] >= 2, answer
        if not system:  # the orphans are init's elsewhere, and count until it reaps them
            assert answer["left"] == 0, answer
        wait_gone(members)
        assert run(keeper, ["/bin/echo", "again"])[1] == "again\n"
