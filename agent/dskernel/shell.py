"""ipykernel's shell, with what IPython 9 keeps of a run's output at the cost of the output."""

from __future__ import annotations

import sys
from collections import defaultdict
from contextlib import ExitStack, contextmanager
from typing import Callable

from ipykernel.zmqshell import ZMQInteractiveShell

from dskernel.streams import LineStream

try:
    from IPython.core.history import HistoryOutput
except ImportError:  # before IPython 9
    HistoryOutput = None

MAX_KEPT = (
    1 << 20
)  # characters of a run's stdout, and of its stderr; the rest is not in a notebook of %notebook


class SandboxShell(ZMQInteractiveShell):
    """A shell that hears what streams send, where IPython 9 puts a Python function around their ``write``."""

    def init_history(self) -> None:
        """Sets up the history as IPython does."""
        super().init_history()
        if hasattr(self.history_manager, "outputs"):
            self.history_manager.outputs = Outputs()

    @contextmanager
    def _tee(self, channel: str):
        outputs, stream = getattr(self.history_manager, "outputs", None), getattr(sys, channel)
        if not isinstance(outputs, Outputs) or not isinstance(stream, LineStream):
            with super()._tee(channel):
                yield
            return
        kept = Kept(outputs, self.execution_count, "out_stream" if channel == "stdout" else "err_stream")
        with ExitStack() as stack:
            stack.enter_context(stream.heard_by(kept))
            stack.enter_context(outputs.settled_by(stream.settle))
            yield


class Outputs(defaultdict):
    """The outputs of all runs, as IPython's history has them: lists by execution count.

    Before anybody looks at it, streams settle what they have not told yet, so that outputs are in order.
    """

    def __init__(self) -> None:
        super().__init__(list)
        self._settle: list[Callable[[], None]] = []

    @contextmanager
    def settled_by(self, settle: Callable[[], None]):
        """Has a function called before each look, for a while."""
        self._settle.append(settle)
        try:
            yield
        finally:
            self._settle.remove(settle)

    def __getitem__(self, count: int) -> list:
        self._settle_all()
        return super().__getitem__(count)

    def setdefault(self, count: int, default=None):
        """Returns the outputs of a run, or makes them the default."""
        self._settle_all()
        return super().setdefault(count, default)

    def _settle_all(self) -> None:
        for settle in self._settle:
            settle()

    def append_text(self, count: int, kind: str, text: str) -> None:
        """Adds text of a stream; text of one stream that nothing parts is one output."""
        outputs = super().setdefault(count, [])
        if not outputs or outputs[-1].output_type != kind:
            outputs.append(HistoryOutput(output_type=kind, bundle={"stream": []}))
        outputs[-1].bundle["stream"].append(text)


class Kept:
    """Takes the text of one stream in one run, as much of it as is kept."""

    def __init__(self, outputs: Outputs, count: int, kind: str) -> None:
        self._outputs, self._count, self._kind = outputs, count, kind
        self._room = MAX_KEPT

    def __call__(self, text: str) -> None:
        if self._room > 0:
            self._outputs.append_text(self._count, self._kind, text[: self._room])
            self._room -= len(text)
