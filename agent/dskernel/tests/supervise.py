"""A host for the tests: the other end of a supervisor's wire."""

from __future__ import annotations

import array
import json
import os
import select
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent
PATIENCE = 15.0  # seconds; for what should take milliseconds, on a machine that may be busy


class Wire:
    """The host's end of a control socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.number = 0
        self.events: list[dict] = []
        self.answers: dict[object, dict] = {}
        self._rest = b""

    def request(self, op: str, fds=(), **fields) -> int:
        self.number += 1
        message = {"id": self.number, "op": op, **fields}
        if fds:
            message["fds"] = len(fds)
        self.write(json.dumps(message).encode() + b"\n", fds)
        return self.number

    def write(self, data: bytes, fds=()) -> None:
        if fds:
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
            sent = self.sock.sendmsg([data], ancillary)
            data = data[sent:]
        self.sock.sendall(data)

    def call(self, op: str, fds=(), **fields) -> dict:
        return self.answer(self.request(op, fds, **fields))

    def answer(self, number) -> dict:
        self.read_until(lambda: number in self.answers)
        return self.answers.pop(number)

    def event(self, kind: str, pid: int) -> dict:
        def found():
            return [e for e in self.events if e["event"] == kind and e["pid"] == pid]

        self.read_until(found)
        event = found()[0]
        self.events.remove(event)
        return event

    def read_until(self, done) -> None:
        deadline = time.monotonic() + PATIENCE
        while not done():
            ready, _, _ = select.select([self.sock], [], [], max(0, deadline - time.monotonic()))
            assert ready, "no answer in time; events: %r" % self.events
            data = self.sock.recv(1 << 16)
            assert data, "the other end closed; events: %r" % self.events
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                message = json.loads(line)
                if "event" in message:
                    self.events.append(message)
                else:
                    self.answers[message["id"]] = message

    def wait_end(self) -> None:
        """Waits until the other end has closed."""
        while True:
            ready, _, _ = select.select([self.sock], [], [], PATIENCE)
            assert ready, "still open"
            try:
                if not self.sock.recv(1 << 16):
                    return
            except ConnectionResetError:
                return


class Host:
    """A supervisor and the host's end of it."""

    def __init__(self, python: str, system: str = "", env: dict | None = None) -> None:
        ours, theirs = socket.socketpair()
        script = str(FOLDER / "supervisor.py")
        args = [python, "-I", "-S", "-B", script]
        if system:  # lets it believe that it runs on another system
            code = "import sys, runpy; sys.platform = %r; runpy.run_path(%r, run_name='__main__')" % (
                system,
                script,
            )
            args = [python, "-I", "-S", "-B", "-c", code]
        # The socket goes where the engine puts it, to descriptor 3. Done by a program in between, since at 3
        # there may be something of subprocess's own until it executes.
        move = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.execv(sys.argv[2], sys.argv[2:])"
        args = [python, "-I", "-S", "-c", move, str(theirs.fileno()), *args]
        self.process = subprocess.Popen(args, pass_fds=[theirs.fileno()], env=env, stdin=subprocess.DEVNULL)
        theirs.close()
        self.wire = Wire(ours)

    def keep(self, name: str = "box") -> tuple[Wire, int]:
        ours, theirs = socket.socketpair()
        answer = self.wire.call("keep", [theirs.fileno()], name=name)
        theirs.close()
        assert "pid" in answer, answer
        return Wire(ours), answer["pid"]


@contextmanager
def host(python: str, **options):
    """Runs a supervisor, and afterwards makes sure that it is gone with everything below it."""
    h = Host(python, **options)
    try:
        yield h
    finally:
        h.wire.sock.close()
        try:
            h.process.wait(PATIENCE)
        finally:
            h.process.kill()
            h.process.wait()


def start(
    keeper: Wire, argv: list[str], env: dict | None = None, cwd: str = "/", stdout: int | None = None
) -> dict:
    """Asks for a process with /dev/null for what is not given."""
    null = os.open(os.devnull, os.O_RDWR)
    try:
        out = null if stdout is None else stdout
        return keeper.call(
            "start", [null, out, out], argv=argv, env={"PATH": os.defpath} if env is None else env, cwd=cwd
        )
    finally:
        os.close(null)


def run(keeper: Wire, argv: list[str], **options) -> tuple[dict, str]:
    """Runs a process to its end; returns its exit event and what it wrote."""
    read, write = os.pipe()
    answer = start(keeper, argv, stdout=write, **options)
    os.close(write)
    with open(read, encoding="utf-8", errors="replace") as f:
        assert "pid" in answer, answer
        output = f.read()
    return keeper.event("exit", answer["pid"]), output


def alive(pid: int) -> bool:
    """Reports whether a process exists and is no zombie."""
    with suppress(OSError):
        state = Path("/proc/%d/stat" % pid).read_text(errors="replace").rpartition(")")[2].split()[0]
        return state not in "ZX"
    return False


def wait_gone(pids, seconds: float = PATIENCE) -> float:
    """Waits until all of them are gone; returns how long that took, in seconds."""
    begun = time.monotonic()
    while left := [p for p in pids if alive(p)]:
        assert time.monotonic() - begun < seconds, "still there: %r" % left
        time.sleep(0.002)
    return time.monotonic() - begun


def marked(mark: str) -> list[int]:
    """Returns the live processes that have mark among their arguments."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if mark.encode() in (entry / "cmdline").read_bytes().split(b"\0") and alive(int(entry.name)):
                    found.append(int(entry.name))
    return found


def wait_marked(mark: str, count: int) -> list[int]:
    """Waits until at least count processes carry the mark."""
    deadline = time.monotonic() + PATIENCE
    while len(found := marked(mark)) < count:
        assert time.monotonic() < deadline, "only %d of %d" % (len(found), count)
        time.sleep(0.005)
    return found
