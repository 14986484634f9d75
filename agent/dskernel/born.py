"""Makes a fork of a keeper of the fork server what ``python launch.py`` would have become.

What a fresh interpreter has of its own, and a fork shares with its siblings, is made anew: random numbers,
keys, the environment and what was read from it, the interpreter's places, signals.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import os
import random
import signal
import sys
import threading
import time
import traceback
from typing import NoReturn

from proctree import PR_SET_DUMPABLE, PR_SET_NAME, prctl

HERE = os.path.dirname(os.path.abspath(__file__))

INLINE = "module://matplotlib_inline.backend_inline"

# A fork pays for each page that it writes to, and pages hold objects of many kinds: a look at an object
# counts a reference, and letting go of one frees memory. So what can be known before is noted in the fork
# server, and what a fork has no use for is kept.
_before: dict[str, str] = {}  # where the fork server found things
_ours: list[str] = []  # names of modules that are no part of dskernel
_kept: list[object] = []


def note() -> None:
    """Notes, in the fork server, what a fork may find elsewhere, and what it is to take off."""
    for name, module in list(sys.modules.items()):
        if os.path.dirname(getattr(module, "__file__", None) or "") == HERE and "." not in name:
            if name not in ("dskernel", "__main__"):
                _ours.append(name)
    from dskernel import kernelapp

    kernelapp.prepare()
    kernelapp.known_files = [m.__file__ for m in list(sys.modules.values()) if getattr(m, "__file__", None)]
    matplotlib = sys.modules.get("matplotlib")
    if matplotlib is not None:
        _before["matplotlibrc"] = matplotlib.matplotlib_fname()
        matplotlib.rcParams["backend"] = INLINE  # the first time, it looks for all that there are


def become(argv: list[bytes], env: dict[bytes, bytes]) -> NoReturn:
    """Runs the kernel of a command line, ``PYTHON launch.py OPTION...``, and ends as Python would."""
    code = 1
    try:
        _process(argv, env)
        _interpreter(os.fsdecode(argv[0]))
        _libraries()
        launch = _forget()
        launch()
        code = 0
    except SystemExit as e:
        code = _code(e)
    except BaseException:
        traceback.print_exc()
    _finish(code)


def _process(argv: list[bytes], env: dict[bytes, bytes]) -> None:
    prctl(PR_SET_DUMPABLE, 1)
    prctl(PR_SET_NAME, ctypes.c_char_p(os.path.basename(argv[0])))
    # As Python sets them when it starts; all are at their defaults now.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    os.environb.clear()
    os.environb.update(env)
    _engrave(env)
    time.tzset()
    sys.argv[:] = [os.fsdecode(a) for a in argv[1:]]
    sys.orig_argv[:] = [os.fsdecode(a) for a in argv]


# Variables by which others find this process, of which they see those it was executed with. The fork server
# has some of this length there.
SEEN = (b"DS_SANDBOX_MARK", b"DS_SANDBOX_ID")


def _engrave(env: dict[bytes, bytes]) -> None:
    """Writes variables where the system shows them; nothing else uses that memory by now."""
    try:
        with open("/proc/self/stat", "rb") as f:
            fields = f.read().rpartition(b")")[2].split()
        start, end = int(fields[47]), int(fields[48])
    except (OSError, IndexError, ValueError):
        return
    shown = ctypes.string_at(start, end - start)
    for name in SEEN:
        at = shown.find(b"\0" + name + b"=") + 1 if not shown.startswith(name + b"=") else 0
        begin = at + len(name) + 1
        room = shown.find(b"\0", begin) - begin
        value = env.get(name, b"")
        if shown[at:begin] == name + b"=" and 0 < len(value) <= room:
            ctypes.memmove(start + begin, value.ljust(room, b"\0"), room)


def _interpreter(python: str) -> None:
    """Moves the interpreter to the environment of the sandbox, which shows the same packages."""
    old, new = sys.prefix, os.path.dirname(os.path.dirname(python))
    sys.prefix = sys.exec_prefix = new
    sys.executable = python
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))

    def moved(path: str) -> str:
        return new + path[len(old) :] if path == old or path.startswith(old + os.sep) else path

    sys.path[:] = map(moved, sys.path)
    _kept.extend(sys.path_importer_cache.values())
    sys.path_importer_cache.clear()
    site = sys.modules.get("site")
    if site is not None:
        site.PREFIXES[:] = map(moved, site.PREFIXES)
    sysconfig = sys.modules.get("sysconfig")
    if sysconfig is not None:
        for name in ("_PREFIX", "_EXEC_PREFIX"):
            setattr(sysconfig, name, new)
        _kept.append(sysconfig._CONFIG_VARS)
        sysconfig._CONFIG_VARS = None
        sysconfig._CONFIG_VARS_INITIALIZED = False
    importlib.invalidate_caches()


def _libraries() -> None:
    """Makes libraries forget what they drew or read in the fork server."""
    random.seed()
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()
    tempfile = sys.modules.get("tempfile")
    if tempfile is not None:
        tempfile.tempdir = tempfile._name_sequence = None
    processes = sys.modules.get("multiprocessing.process")
    if processes is not None:
        processes.current_process().authkey = os.urandom(32)
    uuid = sys.modules.get("uuid")
    if uuid is not None:
        uuid._last_timestamp = None
    matplotlib = sys.modules.get("matplotlib")
    if matplotlib is not None:
        _matplotlib(matplotlib)


def _matplotlib(matplotlib) -> None:
    for place in (matplotlib.get_configdir, matplotlib.get_cachedir):
        for name, cell in zip(place.__code__.co_freevars, place.__closure__ or ()):
            if name == "called":  # what matplotlib remembers an answer by
                cell.cell_contents = False
    place = matplotlib.matplotlib_fname()
    if place != _before.get("matplotlibrc"):
        settings = matplotlib.rc_params_from_file(place)
        dict.update(matplotlib.rcParamsDefault, settings)
        dict.update(matplotlib.rcParams, settings)
    # Which backend it is, an import would have learnt from the environment, where ipykernel puts its own.
    backend = os.environ.setdefault("MPLBACKEND", INLINE)
    matplotlib.rcParams["backend"] = backend


def _forget():
    """Takes the modules of ours off that are no part of ``dskernel``; returns how to run a kernel."""
    from dskernel.kernelapp import launch

    for name in _ours:
        _kept.append(sys.modules.pop(name, None))
    gc.enable()
    return launch


def _code(e: SystemExit) -> int:
    if e.code is None or isinstance(e.code, int):
        return (e.code or 0) & 0xFF
    print(e.code, file=sys.stderr)
    return 1


def _finish(code: int) -> NoReturn:
    for step in (threading._shutdown, atexit._run_exitfuncs, sys.stdout.flush, sys.stderr.flush):
        try:
            step()
        except BaseException:
            pass
    os._exit(code)
