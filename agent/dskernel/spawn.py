"""Turns a fork into a program, with nothing of ours left in it."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import termios

from bounds import Bounds
from confine import enter
from proctree import PR_SET_PDEATHSIG, prctl

INHERITED = 1 << 16  # what a careless parent of ours may have left open lies below
OURS = 1 << 10  # all that we ever open lies below, and closes on exec anyway
LEFT = 127  # exit code of a child that never became a program


class SpawnError(Exception):
    """A program could not be started."""

    def __init__(self, stage: str, number: int, what: str = "") -> None:
        self.stage, self.errno = stage, number
        super().__init__("%s: %s%s" % (stage, os.strerror(number), what and ": " + what))

    def answer(self) -> dict:
        """Returns the error as an answer on the wire."""
        return {"error": str(self), "stage": self.stage, "errno": self.errno}


class Program:
    """What to execute: arguments, the whole environment, the working directory, and what shuts it in.

    With tty, the standard input is to be its terminal.
    """

    bounds = Bounds(None)  # limits
    confinement = -1  # a ruleset's descriptor, see confine.py; it stays its owner's
    fork = False  # it is a Python kernel, to go on from where this process is: see born.py

    def __init__(self, argv: list[str], env: dict[str, str], cwd: str, tty: bool = False) -> None:
        # Encoded by us: the interpreter would use the locale's encoding, and the wire is UTF-8.
        self.argv = [os_bytes(a) for a in argv]
        self.env = {os_bytes(k): os_bytes(v) for k, v in env.items()}
        self.cwd = os_bytes(cwd)
        self.tty = tty
        if not self.argv or any(b"=" in k or not k for k in self.env):
            raise ValueError("no argv, or an environment name with '='")

    def files(self) -> list[bytes]:
        """Returns the files to try, in order: argv[0] itself, or its places along env's PATH."""
        name = self.argv[0]
        if b"/" in name:
            return [name]
        path = self.env.get(b"PATH", os.defpath.encode())
        return [os.path.join(d, name) for d in path.split(b":")]


def os_bytes(text: str) -> bytes:
    """Encodes text for the system. Raises ValueError for what no system call can take."""
    encoded = text.encode("utf-8", "surrogateescape")
    if b"\0" in encoded:
        raise ValueError("NUL in %r" % text[:80])
    return encoded


def spawn(program: Program, fds: list[int]) -> tuple[int, int]:
    """Forks a child that executes the program with fds as its standard files.

    Returns its process id and a descriptor that ends when the program runs, or when the child has died
    first; before that it may carry an account of what failed, for failure(). The caller closes it. Raises
    SpawnError.
    """
    read, write = os.pipe()
    try:
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            _execute(program, fds, write, parent)
    except OSError as e:
        os.close(read)
        raise SpawnError("fork", e.errno or 0) from e
    finally:
        os.close(write)
    os.set_blocking(read, False)
    return pid, read


def failure(account: bytes) -> SpawnError | None:
    """Returns the error that a child wrote down; None for an empty account."""
    if not account:
        return None
    stage, number, what = account.split(b"\n", 2)
    return SpawnError(stage.decode(), int(number), what.decode("utf-8", "replace"))


def _execute(program: Program, fds: list[int], report: int, parent: int) -> None:
    """Never returns."""
    stage, what = "fork", b""
    try:
        os.setsid()
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            return  # it died before the line above; os._exit follows
        _default_signals()
        # First out of the way of 0, 1 and 2: what we were given may be among these.
        report, *files = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in (report, *fds)]
        for target, fd in enumerate(files):
            os.dup2(fd, target, inheritable=True)
        close_all_but(report, program.confinement)
        if program.tty:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        stage = "limits"  # after all descriptors were opened, for these may be limited
        program.bounds.apply()
        stage, what = "chdir", program.cwd
        os.chdir(program.cwd)
        if program.confinement >= 0:
            stage, what = "confine", b""
            enter(program.confinement)
        stage, what = "exec", program.argv[0]
        if program.fork:
            _go_on(program, report)
        _exec_first(program)
    except OSError as e:
        _report(report, stage, e.errno or errno.EIO, what)
    except BaseException as e:
        _report(report, stage, errno.EINVAL, ascii(e).encode())
    finally:
        os._exit(LEFT)


def _go_on(program: Program, report: int) -> None:
    from born import become

    os.close(report)
    if program.confinement >= 0:
        os.close(program.confinement)
    become(program.argv, program.env)


def _exec_first(program: Program) -> None:
    refused: OSError | None = None
    for file in program.files():
        try:
            os.execve(file, program.argv, program.env)
        except (FileNotFoundError, NotADirectoryError) as e:
            missing = e
        except OSError as e:
            refused = refused or e
    raise refused or missing


def _report(report: int, stage: str, number: int, what: bytes) -> None:
    # Far below the size of a pipe, so it is written whole and never waits.
    os.write(report, b"%s\n%d\n%s" % (stage.encode(), number, what[:2000]))


def _default_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def close_all_but(*keep: int) -> None:
    """Closes every descriptor of ours above 2 but those to keep; -1 is none."""
    lowest = 3
    for fd in sorted(keep):
        if fd >= lowest:
            os.closerange(lowest, fd)
            lowest = fd + 1
    os.closerange(lowest, max(OURS, lowest))


def close_inherited(lowest: int) -> None:
    """Closes every descriptor from lowest on."""
    os.closerange(lowest, min(os.sysconf("SC_OPEN_MAX"), INHERITED))
