"""The fork server: ``python warm.py [MODULE ...]``, a supervisor that has imported what kernels need.

Its keepers are forks of it, and start Python kernels as forks of themselves, see born.py: with the
libraries in memory that is shared, and in a fraction of the time. It has no thread, no event loop and no
zmq context, and runs no user's code. Its first message is ``{"event": "warm", "missing": {MODULE: REASON},
"seconds"}``, or an ``error`` in place of these.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import io
import json
import os
import re
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
CONTROL_FD = 3

# What a kernel would import while it starts, and with its first run, figure and table.
KERNEL = (
    "dskernel.kernelapp",
    "dskernel.branch",
    "dskernel.plain",
    "dskernel.values",
    "dskernel.tables",
    "IPython.core.async_helpers",
    "IPython.core.completer",
    "IPython.core.completerlib",
    "IPython.core.debugger",
    "IPython.core.oinspect",
    "IPython.core.pylabtools",
    "IPython.core.ultratb",
    "IPython.extensions.storemagic",
    "IPython.paths",
    "IPython.utils.wildcard",
    "dskernel.pictures",
    "faulthandler",
    "ipykernel.comm.manager",
    "ipykernel.datapub",
    "ipykernel.heartbeat",
    "ipykernel.pickleutil",
    "ipykernel.serialize",
    "ipykernel.shellchannel",
    "ipykernel.subshell_manager",
    "jupyter_client.connect",
    "sqlite3",
    "tornado.platform.asyncio",
    "zmq.utils.garbage",
)
FIGURES = (
    "dskernel.charts.matplotlib",
    "matplotlib.backends.backend_agg",
    "matplotlib_inline.backend_inline",
)


def preload(wanted: list[str]) -> dict[str, str]:
    """Imports modules, and returns why some could not be."""
    import launch

    sys.path[:] = [p for p in sys.path if p and os.path.abspath(p) != HERE]
    launch.load_package()
    importlib.import_module("dskernel.kernelapp")  # what fails here makes us useless
    missing = {}
    for name in wanted:
        try:
            importlib.import_module(name)
        except BaseException as e:  # whatever a module does as it is imported
            missing[name] = "%s: %s" % (type(e).__name__, e)
    for name in KERNEL + (FIGURES if "matplotlib.pyplot" in sys.modules else ()):
        try:
            importlib.import_module(name)
        except Exception:
            continue  # of another version of ipykernel or IPython
    return missing


LIBRARIES = re.compile(r"lib(zmq|sodium|sqlite3)\b|unicodedata\.")  # that each kernel runs, and we don't
POPULATE_READ = 22  # of madvise, since Linux 5.14


def page_in() -> None:
    """Has us map what is in memory of libraries already: pages that a kernel alone maps count as its own."""
    libc = ctypes.CDLL(None)
    with open("/proc/self/maps") as f:
        for line in f:
            words = line.split(None, 5)
            if (
                words[1] in ("r-xp", "r--p")
                and len(words) == 6
                and LIBRARIES.search(os.path.basename(words[5]))
            ):
                start, end = (int(word, 16) for word in words[0].split("-"))
                libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), POPULATE_READ)


def rehearse() -> None:
    """Keeps a line, shows a table, draws a figure, for nobody: the first takes several times as long."""
    page_in()
    if "sqlite3" in sys.modules:
        history = sys.modules["sqlite3"].connect(":memory:")
        history.execute("create table history (line integer primary key, source text)")
        history.execute("insert into history (source) values ('1')")
        history.close()
    if "pandas" in sys.modules:
        frame = sys.modules["pandas"].DataFrame({"a": [1, 2], "b": [0.5, None], "c": ["x", "y"]})
        sys.modules["dskernel.tables"].frame(frame)
        for show in (frame.a.sum, frame.__repr__, frame._repr_html_):
            show()
    if "matplotlib.pyplot" in sys.modules:
        from matplotlib import font_manager
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure()
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        axes.plot([1, 2, 4], label="a")
        axes.set(title="t", xlabel="x", ylabel="y")
        axes.legend()
        figure.savefig(io.BytesIO(), format="png", bbox_inches="tight")
        sys.modules["dskernel.charts.matplotlib"].chart(figure)
        font_manager._get_font.cache_clear()  # these hold open files


def open_files() -> list[str]:
    """Returns the files that are open. There must be none: their descriptors would be closed behind them."""
    gc.collect()
    found = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink("/proc/self/fd/" + fd))
        except OSError:
            pass  # the one that listed
    return [path for path in found if os.path.isfile(path)]


def threads() -> list[str]:
    """Returns the names of our threads but the main one; native libraries end theirs with the first fork."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    found = []
    for task in os.listdir("/proc/self/task"):
        if int(task) != os.getpid():
            with open("/proc/self/task/%s/comm" % task) as f:
                found.append(f.read().strip())
    return found


def main() -> None:
    """Imports, tells of it, and serves."""
    began = time.monotonic()
    sys.path.append(HERE)
    import born
    import supervisor

    writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    said: dict = {"event": "warm"}
    try:
        said["missing"] = preload(sys.argv[1:])
        rehearse()
        born.note()
        left = threads() + open_files()
        if left:
            said["error"] = "threads or files that can't be forked: " + ", ".join(left[:5])
    except BaseException as e:
        said["error"] = "%s: %s" % (type(e).__name__, e)
    sys.dont_write_bytecode = writes
    said["seconds"] = time.monotonic() - began
    os.write(CONTROL_FD, json.dumps(said).encode() + b"\n")
    if "error" not in said:
        supervisor.main()


if __name__ == "__main__":
    main()
