"""ipykernel's application and kernel with the settings of a sandbox. Seen with ipykernel 6.17 and 7.4."""

import os

from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp
from traitlets.config import Config

from dskernel.runenv import applied


class SandboxKernel(IPythonKernel):
    """A kernel that takes a run's environment variables from the metadata of its request."""

    # Upstream sleeps 0.5 ms before each reply in case a flush was slow; a client that waits for idle needs no such luck.
    _execute_sleep = 0.0

    async def execute_request(self, stream, ident, parent):
        with applied(parent.get("metadata")):
            await super().execute_request(stream, ident, parent)


class SandboxKernelApp(IPKernelApp):
    """An application that is watched by its keeper, and therefore neither polls its parent nor says how to connect."""

    kernel_class = SandboxKernel
    outstream_class = "dskernel.streams.LineStream"
    name = "ds-sandbox-kernel"

    def init_poller(self):
        """Starts no thread: the kernel gets a signal when its keeper ends."""


def launch():
    config = Config()
    # A sandbox's history ends with it, and SQLite files on slow disks cost a millisecond a run.
    config.HistoryManager.hist_file = ":memory:"
    # With a parent named, ipykernel does not print how to connect to it.
    config.IPKernelApp.parent_handle = config.SandboxKernelApp.parent_handle = os.getppid()
    SandboxKernelApp.launch_instance(config=config)
