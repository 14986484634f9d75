"""ipykernel's shell, with what IPython 9 keeps of a run's output at the cost of the output."""

from __future__ import annotations

import ast
import hashlib
import sys
import warnings
from collections import defaultdict
from contextlib import ExitStack, contextmanager
from typing import Callable

from ipykernel.compiler import XCachingCompiler
from ipykernel.zmqshell import ZMQExitAutocall, ZMQInteractiveShell
from traitlets import default

from dskernel.streams import LineStream

try:
    from IPython.core.history import HistoryOutput
except ImportError:  # before IPython 9
    HistoryOutput = None

MAX_KEPT = (
    1 << 20
)  # characters of a run's stdout, and of its stderr; the rest is not in a notebook of %notebook

LONG = 1 << 20  # characters of code on which what IPython does in Python takes seconds


class Exit(ZMQExitAutocall):
    """What ``exit`` and ``quit`` are: Python's, which end the code.

    ipykernel's ask the front end to go away, and the code goes on.
    """

    def __call__(self, keep_kernel=None) -> None:
        raise SystemExit(None if isinstance(keep_kernel, bool) else keep_kernel)


def is_success(error: object) -> bool:
    """Reports whether an exception is the end of a program that has nothing to complain of."""
    return isinstance(error, SystemExit) and error.code in (None, 0)


class Compiler(XCachingCompiler):
    """ipykernel's, which names code by a hash that is written in Python."""

    def get_code_name(self, raw_code: str, code: str, number: int) -> str:
        """Returns the file name that tracebacks have for code."""
        if len(raw_code) >= LONG:
            raw_code = hashlib.sha256(raw_code.encode("utf-8", "surrogatepass")).hexdigest()
        return super().get_code_name(raw_code, code, number)


def is_python(code: str) -> bool:
    """Reports whether IPython has nothing to change in code."""
    if code.lstrip().startswith(("In [", ">>>")):  # a prompt that was copied with it
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they come when it is compiled
        try:
            ast.parse(code)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return False
    return True


class SandboxShell(ZMQInteractiveShell):
    """A shell whose code ends as a program does, and which hears what streams send.

    ``sys.exit()`` is no error. Where IPython 9 puts a Python function around streams' ``write``, to keep
    a run's output, this shell listens to them.
    """

    @default("exiter")
    def _default_exiter(self) -> Exit:
        return Exit(self)

    def init_instance_attrs(self) -> None:
        """Sets up the compiler among others."""
        super().init_instance_attrs()
        if type(self.compile) is XCachingCompiler:
            self.compile = Compiler()

    def init_traceback_handlers(self, custom_exceptions) -> None:
        """Sets up tracebacks, and leaves out the advice how to leave a terminal."""
        super().init_traceback_handlers(custom_exceptions)
        self._own_transforms = self._transforms()
        warnings.filterwarnings("ignore", "To exit: use 'exit'", UserWarning)

    def showtraceback(self, exc_tuple=None, *args, **kwargs) -> None:
        """Shows an exception, unless it is the end of the code as it should be."""
        if not is_success((exc_tuple or sys.exc_info())[1]):
            super().showtraceback(exc_tuple, *args, **kwargs)
            return
        # What front ends of ipykernel hear of exit(): one that runs a whole notebook ends it here.
        self.payload_manager.write_payload({"source": "ask_exit", "keepkernel": True})

    def transform_cell(self, raw_cell: str) -> str:
        """Turns IPython's syntax into Python's. What is long and Python already is spared the tokenizer."""
        if len(raw_cell) < LONG or self._transforms() != self._own_transforms or not is_python(raw_cell):
            return super().transform_cell(raw_cell)
        return raw_cell if raw_cell.endswith("\n") else raw_cell + "\n"

    def _transforms(self) -> list[int]:
        manager = self.input_transformer_manager
        lists = manager.cleanup_transforms, manager.line_transforms, manager.token_transformers
        return [*map(len, lists), len(self.input_transformers_post)]

    async def run_code(self, code_obj, result=None, **options) -> bool:
        """Runs a part of a run's code; the result is whether to leave out the rest."""
        stop = await super().run_code(code_obj, result, **options)
        if result is not None and is_success(result.error_in_exec):
            result.error_in_exec = None
        return stop

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
