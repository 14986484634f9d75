"""Copies of a kernel, and clients of them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import tempfile

from kernel import PATIENCE, Kernel, connect, write_connection


class Refused(Exception):
    """The kernel would not be copied."""


class Parked:
    """A checkpoint of a kernel."""

    def __init__(self, kernel: Kernel, wait: bool = True, socket: str = "") -> None:
        self.folder = tempfile.mkdtemp(prefix="dsp")
        self.socket = socket or os.path.join(self.folder, "p")
        self.kernel = kernel
        message = kernel.client.session.msg("checkpoint_request", {"socket": self.socket})
        kernel.client.shell_channel.send(message)
        self.number = message["header"]["msg_id"]
        if wait:
            self.collect()

    def keep(self) -> None:
        """Makes the copy ours. Without it, it would end when it sees that its socket is gone."""
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(self.socket)
            s.sendall(b'{"op": "keep"}\n')

    def collect(self) -> None:
        """Waits for the reply, and keeps others for Kernel.collect_any."""
        self.reply = self.kernel.reply_to(self.number)["content"]
        if self.reply["status"] != "ok":
            raise Refused(self.reply)
        self.pid = self.reply["pid"]
        self.warnings = self.reply["warnings"]

    def __enter__(self) -> Parked:
        return self

    def __exit__(self, *_) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def wake(self, stay: bool = True, **order) -> Copy:
        return Copy(self, stay, order)

    def wake_in_vain(self) -> int:
        """Wakes a copy and does not take it; returns its process."""
        connection = write_connection(self.folder, key=os.urandom(8).hex())
        with socket.socket(socket.AF_UNIX) as s:
            return self.order(s, connection, os.devnull, stay=True)["pid"]

    def order(self, s: socket.socket, connection: str, output: str, **order) -> dict:
        """Orders a kernel over a new connection, and returns the answer."""
        s.settimeout(PATIENCE)
        s.connect(self.socket)
        line = json.dumps({"op": "wake", "connection": connection, **order})
        with open(output, "w") as out:
            socket.send_fds(s, [line.encode() + b"\n"], [out.fileno()])
        with s.makefile() as f:
            return json.loads(f.readline() or '{"error": "nothing"}')


class Copy(Kernel):
    """A kernel that was woken."""

    def __init__(self, parked: Parked, stay: bool, order: dict) -> None:
        self.folder = tempfile.mkdtemp(prefix="dsc")
        self.connection = write_connection(self.folder, key=os.urandom(8).hex())
        self.output = os.path.join(self.folder, "output")
        with socket.socket(socket.AF_UNIX) as s:
            self.answer = parked.order(s, self.connection, self.output, stay=stay, **order)
            s.sendall(b"\n")
        assert "pid" in self.answer, (self.answer, open(self.output).read())
        self.pid = self.answer["pid"]
        self.client = connect(self.connection)

    def __enter__(self) -> Copy:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def interrupt(self) -> None:
        os.killpg(self.pid, signal.SIGINT)

    def close(self) -> None:
        self.client.stop_channels()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)
