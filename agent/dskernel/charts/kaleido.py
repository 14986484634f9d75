"""Pictures of plotly's figures. kaleido draws them in a browser, which is slow to start or never answers.

One browser serves the session. A run waits for its pictures so long in all; then its figures come without.
"""

from __future__ import annotations

import base64
import sys
import threading
import time
import warnings

from dskernel.guard import quietly

FIRST = 15.0  # seconds for the first picture, and the start of the browser
RUN = 10.0  # seconds for all pictures of a run, after that

_state = {"can": None, "begun": False, "run": None, "left": RUN, "thread": None}


def picture(figure: dict) -> str | None:
    """Draws a figure, if kaleido and a browser are there and done in time. After a failure none is drawn."""
    if _state["can"] is None:
        from importlib.util import find_spec

        _state["can"] = find_spec("kaleido") is not None
    if not _state["can"]:
        return None
    begun = time.monotonic()
    limit = _left() if _state["begun"] else FIRST
    if limit <= 0 or _is_busy(limit):
        return None
    drawn, late = _within(limit, _draw, figure)
    if _state["begun"]:
        _state["left"] -= time.monotonic() - begun
    _state["begun"] = True
    if drawn is None and (not late or limit > RUN / 2):
        _state["can"] = False
    return None if drawn is None else base64.b64encode(drawn).decode()


def _is_busy(limit: float) -> bool:
    """Reports whether the browser still draws what nobody waited for: kaleido would mix up the two."""
    thread = _state["thread"]
    if thread is not None:
        thread.join(limit)
    return thread is not None and thread.is_alive()


def _left() -> float:
    """Returns how long the run may still wait."""
    module = sys.modules.get("IPython.core.interactiveshell")
    shell = getattr(module.InteractiveShell, "_instance", None) if module else None
    run = getattr(shell, "execution_count", None)
    if _state["run"] != run:
        _state.update(run=run, left=RUN)
    return _state["left"]


def _within(seconds: float, call, *args) -> tuple:
    """Returns what a call returns, None if it fails, and whether it took longer; nobody waits for it then."""
    found: list = []
    # The thread is no run's: what it printed would come with whichever is under way.
    thread = threading.Thread(target=lambda: found.append(quietly(call, *args)), daemon=True)
    _state["thread"] = thread
    thread.start()
    thread.join(seconds)
    return (found[0] if found else None), thread.is_alive()


def _draw(figure: dict) -> bytes:
    import kaleido
    import plotly.io

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if hasattr(kaleido, "start_sync_server"):  # from version 1 on
            kaleido.start_sync_server(n=1, mathjax=False, silence_warnings=True)
        return plotly.io.to_image(figure, format="png", validate=False)


def rest() -> None:
    """Ends the browser. The next picture starts another one."""
    kaleido = sys.modules.get("kaleido")
    if kaleido is not None and hasattr(kaleido, "stop_sync_server") and _state["can"]:
        stopped, _ = _within(5.0, lambda: kaleido.stop_sync_server(silence_warnings=True) or True)
        if stopped is None:
            _state["can"] = False
        _state["begun"] = False
