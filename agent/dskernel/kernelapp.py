"""ipykernel's application and kernel with the settings of a sandbox. Seen with ipykernel 6.17 and 7.4."""

from __future__ import annotations

import hmac
import logging
import os
import signal
import sys
from contextlib import contextmanager

import dskernel.debugging  # noqa: F401, before ipykernel's kernel  # isort: skip
from ipykernel import ipkernel
from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp
from ipykernel.zmqshell import ZMQInteractiveShell
from jupyter_client.session import Session
from traitlets import default
from traitlets.config import Config

from dskernel import display, plumbing
from dskernel.iopub import DirectIOPub, Doors
from dskernel.packing import Tolerant
from dskernel.runargs import RunArgs
from dskernel.runenv import RunEnv
from dskernel.shell import SandboxShell

plumbing.follow_loops()

# An environment variable; 1 does with the streams, the iopub thread and the shell that ipykernel has.
PLAIN = "DS_SANDBOX_PLAIN_STREAMS"


def plain() -> bool:
    """Reports whether ipykernel's own streams, iopub thread and shell are asked for."""
    return os.environ.get(PLAIN) == "1"


known_files: list[str] = []  # of the modules that were loaded in the fork server


class KnownModules:
    """Stands in for ``sys`` where ipykernel 7 looks at each module as it makes a kernel, for its debugger.

    A fork would get a page of its own for each, 4 MB; the fork server has looked.
    """

    def __init__(self, real) -> None:
        self._real = real
        self.modules: dict = {}

    def __getattr__(self, name: str):
        return getattr(self._real, name)


class SandboxKernel(IPythonKernel):
    """A kernel that takes a run's environment variables and arguments from the metadata of its request."""

    msg_types = [*IPythonKernel.msg_types, "checkpoint_request"]
    brancher = None

    def __init__(self, **kwargs) -> None:
        if not known_files:
            super().__init__(**kwargs)
            return
        ipkernel.sys = KnownModules(sys)
        try:
            super().__init__(**kwargs)
        finally:
            ipkernel.sys = sys
        if hasattr(self, "_kernel_modules"):
            self._kernel_modules.extend(known_files)  # the debugger has this very list

    @default("shell_class")
    def _our_shell(self) -> type:
        return ZMQInteractiveShell if plain() else SandboxShell

    @default("_execute_sleep")
    def _no_sleep(self) -> float:
        # Upstream sleeps 0.5 ms before each reply in case a flush was slow. Our client waits for idle, which
        # comes after everything flushed, and needs no such luck.
        return 0.0

    async def execute_request(self, stream, ident, parent) -> None:
        """Runs a request with its variables and arguments set."""
        metadata = parent.get("metadata")
        with RunEnv(metadata) as env, RunArgs(metadata, self.shell.user_ns):
            if env.refused:
                self.log.warning("environment of the run: refused %s", ", ".join(map(repr, env.refused)))
            await super().execute_request(stream, ident, parent)

    async def checkpoint_request(self, stream, ident, parent) -> None:
        """Makes a copy of this process that waits, see branch.py. In the copy, it returns without a reply."""
        if self.brancher is None:
            from dskernel.branch import Brancher

            self.brancher = Brancher(self)
        reply = await self.brancher.checkpoint(parent["content"])
        if reply is not None:
            self.session.send(stream, "checkpoint_reply", reply, parent, ident=ident)

    async def dispatch_shell(self, msg, /, *args, **kwargs) -> None:
        """Dispatches a request, unless it waited when this process was copied, and is the original's."""
        if self.parent.former_key and signed(self.session, self.parent.former_key, msg):
            return
        await super().dispatch_shell(msg, *args, **kwargs)

    @contextmanager
    def _cancel_on_sigint(self, future):
        """Upstream's, which cancels an awaiting run; and wakes the loop for it.

        Upstream's handler only queues the cancellation. Python resumes the loop's wait after the handler, so
        an await of 60 seconds would be cancelled when they are over.
        """
        with super()._cancel_on_sigint(future):
            queue_cancellation = signal.getsignal(signal.SIGINT)

            def cancel_now(*args) -> None:
                queue_cancellation(*args)
                self.io_loop.asyncio_loop.call_soon_threadsafe(lambda: None)

            signal.signal(signal.SIGINT, cancel_now)  # upstream puts back what was before both
            yield


class SandboxKernelApp(IPKernelApp):
    """ipykernel's application with our kernel and our streams as defaults, which options can change."""

    former_key = b""  # of the kernel that this one is a copy of

    @default("kernel_class")
    def _our_kernel(self) -> type:
        return SandboxKernel

    @default("outstream_class")
    def _our_stream(self) -> str:
        return "ipykernel.iostream.OutStream" if plain() else "dskernel.streams.LineStream"

    def _session_default(self) -> Session:
        session = super()._session_default()
        session.pack = Tolerant(session.pack)
        return session

    def init_iopub(self, context) -> None:
        """Sets up iopub, with a longer queue for clients that are slow for a moment."""
        if plain():
            super().init_iopub(context)
            return
        super().init_iopub(Doors(context))
        self.iopub_thread.__class__ = DirectIOPub

    def parse_command_line(self, argv=None) -> None:
        """Reads the options. The parser for all that there are takes a tenth of a start, and we give one."""
        given = sys.argv[1:] if argv is None else argv
        if len(given) == 2 and given[0] == "-f":
            self.connection_file, self.extra_args = given[1], []
        else:
            super().parse_command_line(argv)

    def initialize(self, argv=None) -> None:
        """Initializes everything, and makes no records of what nobody logs."""
        super().initialize(argv)
        self.log.setLevel(self.log_level)

    def init_shell(self) -> None:
        """Makes the shell, which shows figures and tables as data too."""
        super().init_shell()
        display.install(self.shell)

    def init_sockets(self) -> None:
        """Makes the sockets, and remembers what they are made of."""
        before = plumbing.eventfds(plumbing.listed())
        self.make_sockets()
        self.eventfds = plumbing.Eventfds()
        self.eventfds.note(before)

    def make_sockets(self) -> None:
        """Makes the sockets, of a copy too, which remembers more."""
        super().init_sockets()

    def configure_tornado_logger(self) -> None:
        """Sets up tornado's log, once: a copy of a kernel has it."""
        if not logging.getLogger("tornado").handlers:
            super().configure_tornado_logger()

    def start(self) -> None:
        """Runs the kernel until it is told to end. A copy leaves what the original wanted done at its end."""
        super().start()
        if self.former_key:
            self.close()
            os._exit(0)

    def init_poller(self) -> None:
        """Watches the parent only if JPY_PARENT_PID or an option names it: a keeper ends its kernels."""
        super().init_poller()
        if not self.parent_handle:
            # Without a parent, upstream takes us to be started by hand, and prints how to connect.
            self.parent_handle = os.getppid()


def signed(session, key: bytes, frames: list) -> bool:
    """Reports whether a message is signed with a key."""
    _, parts = session.feed_identities(frames, copy=False)
    digest = hmac.HMAC(key, digestmod=session.digest_mod)
    for part in parts[1:5]:
        digest.update(part.bytes)
    return hmac.compare_digest(parts[0].bytes, digest.hexdigest().encode())


def prepare() -> SandboxKernelApp:
    """Makes the application, unless it is made: a fork server has done so."""
    config = Config()
    # A sandbox's history ends with it, and a database file costs a millisecond a run.
    config.HistoryManager.hist_file = ":memory:"
    if hasattr(IPythonKernel.shell_class.klass, "enable_tip"):
        # Each question what the kernel is would draw from the user's random numbers, for a tip.
        config.InteractiveShell.enable_tip = False
    return SandboxKernelApp.instance(config=config)


def launch() -> None:
    """Runs the kernel that the command line asks for."""
    app = prepare()
    app.initialize()
    app.start()
