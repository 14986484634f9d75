"""Control sockets: JSON lines with file descriptors beside them, and the loop of a process that serves one.

README.md beside this file describes the messages.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import time

MAX_LINE = 64 << 20  # bytes of one message to us
MAX_UNSENT = 1 << 20  # bytes kept for a host that does not read; beyond that it counts as gone
MAX_FDS = 64  # descriptors received and not yet claimed by a message
SCM_MAX_FD = 253  # what Linux lets one sendmsg carry
READ_SIZE = 1 << 16
CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)

# A terminal, a shell or a stray kill must not end the process that everything else hangs on: only the end of
# its control socket does. SIGKILL and SIGSTOP can't be refused.
IGNORED = "INT TERM HUP QUIT PIPE TSTP TTIN TTOU ALRM VTALRM PROF USR1 USR2".split()


class BadRequest(Exception):
    """A message that can't be obeyed; its text is the answer's error."""


class Channel:
    """One end of a control socket. Never blocks; once ``gone`` is set, it does nothing more."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.gone = False
        self.unsent = bytearray()
        self._line = bytearray()
        self._fds: list[int] = []
        sock.setblocking(False)

    def receive(self) -> list[bytes]:
        """Returns the lines that have come whole."""
        space = socket.CMSG_SPACE(SCM_MAX_FD * 4)
        try:
            data, ancillary, flags, _ = self.sock.recvmsg(READ_SIZE, space, CLOEXEC)
        except (BlockingIOError, InterruptedError):
            return []
        except OSError:
            self.gone = True
            return []
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                for i in range(0, len(payload) - 3, 4):
                    fd = int.from_bytes(payload[i : i + 4], sys.byteorder)
                    os.set_inheritable(fd, False)
                    self._fds.append(fd)
        # A lost descriptor would pair every later message with those of its neighbour.
        if not data or flags & socket.MSG_CTRUNC or len(self._fds) > MAX_FDS:
            self.gone = True
        return self._split(data)

    def _split(self, data: bytes) -> list[bytes]:
        lines, searched = [], len(self._line)
        self._line += data
        while True:
            end = self._line.find(b"\n", searched)
            if end < 0:
                break
            lines.append(bytes(self._line[:end]))
            del self._line[: end + 1]
            searched = 0
        if len(self._line) > MAX_LINE:
            self.gone = True
        return lines

    def claim(self, count: object) -> list[int]:
        """Returns the descriptors of the message at hand, which the caller then owns."""
        if not isinstance(count, int) or not 0 <= count <= len(self._fds):
            raise BadRequest("descriptors are missing")
        claimed, self._fds = self._fds[:count], self._fds[count:]
        return claimed

    def send(self, message: dict) -> None:
        """Queues a message and sends what goes out at once."""
        if self.gone:
            return
        self.unsent += json.dumps(message, separators=(",", ":")).encode() + b"\n"
        self.flush()
        if len(self.unsent) > MAX_UNSENT:
            self.gone = True

    def flush(self) -> None:
        """Sends as much of the queue as the socket takes."""
        while self.unsent and not self.gone:
            try:
                sent = self.sock.send(self.unsent)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                self.gone = True
                return
            del self.unsent[:sent]


class Server:
    """The loop of a process that obeys a control socket and reaps its children. Subclasses say what to do."""

    # How long poll may sleep, seconds. Bounded, so that no lost wake-up lasts.
    patience = 5.0

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.ending = False
        self._poller = select.poll()
        self._readers: dict[int, object] = {}
        self._woken = self._wake_on_signals()
        self.watch(self._woken, self._drain_wakeups)
        self.watch(channel.sock.fileno(), self._serve_channel)

    def _wake_on_signals(self) -> int:
        read, write = os.pipe()
        os.set_blocking(read, False)
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        for name in IGNORED:
            signal.signal(getattr(signal, "SIG" + name), signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        return read

    def _drain_wakeups(self) -> None:
        try:
            os.read(self._woken, 4096)
        except BlockingIOError:
            pass

    def watch(self, fd: int, reader) -> None:
        """Calls reader, without arguments, whenever fd can be read or has ended."""
        self._readers[fd] = reader
        self._poller.register(fd, select.POLLIN)

    def unwatch(self, fd: int) -> None:
        """Undoes watch."""
        del self._readers[fd]
        self._poller.unregister(fd)

    def serve(self) -> None:
        """Runs until the other end is gone."""
        control = self.channel.sock.fileno()
        while True:
            self.reap()
            if self.channel.gone or self.ending:
                return
            self._poller.modify(control, select.POLLIN | (select.POLLOUT if self.channel.unsent else 0))
            for fd, events in self._poller.poll(self.patience * 1000):
                if fd == control and events & select.POLLOUT:
                    self.channel.flush()
                if events & ~select.POLLOUT and fd in self._readers:
                    self._readers[fd]()

    def _serve_channel(self) -> None:
        for line in self.channel.receive():
            if line.strip():
                self._serve_line(line)

    def _serve_line(self, line: bytes) -> None:
        number = None
        fds: list[int] = []
        try:
            message = json.loads(line.decode("utf-8", "replace"))
            if not isinstance(message, dict):
                raise BadRequest("not an object")
            number = message.get("id")
            fds = self.channel.claim(message.get("fds", 0))
            answer = self.handle(message, fds)
        except BadRequest as e:
            answer = {"error": "bad request: %s" % e}
        except (ValueError, RecursionError):  # of the JSON
            answer = {"error": "bad request: not JSON"}
        except OSError as e:  # out of descriptors or memory, perhaps for a moment only
            answer = {"error": os.strerror(e.errno or 0), "errno": e.errno or 0}
        finally:
            for fd in fds:
                os.close(fd)
        if answer is not None:
            self.channel.send({"id": number, **answer})

    def handle(self, message: dict, fds: list[int]) -> dict | None:
        """Obeys a message, whose fds stay the caller's; returns the answer, or None if that comes later."""
        raise NotImplementedError

    def reap(self) -> None:
        """Collects the children that have ended."""
        raise NotImplementedError


def until(deadline: float, done, act) -> bool:
    """Repeats act until done() or the deadline of time.monotonic, with growing pauses; returns done()."""
    pause = 0.001
    while not done():
        if time.monotonic() >= deadline:
            return False
        act()
        if not done():
            time.sleep(pause)
            pause = min(pause * 1.5, 0.02)
    return True
