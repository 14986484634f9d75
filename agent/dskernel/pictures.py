"""Pictures of PIL: ``show`` and ``save`` show them, as E2B's kernels do. Their values show themselves."""

from __future__ import annotations

import functools
import sys

from dskernel.guard import quietly

MOST = 10  # shown by save in one run: a loop that writes a data set is not a slide show

_shown = {"run": -1, "count": 0}


def connect(shell) -> None:
    """Makes a save to a named file, by the user's own code, show the picture too."""
    Image = sys.modules["PIL.Image"].Image
    save = Image.save

    @functools.wraps(save)
    def saved(self, fp, *args, **options):
        result = save(self, fp, *args, **options)
        # matplotlib and others save through PIL: only what the user wrote here is meant to be seen.
        caller = sys._getframe(1).f_globals
        if isinstance(fp, str) and caller.get("__name__") == "__main__" and _first(shell.execution_count):
            quietly(_show, self)
        return result

    Image.save = saved


def connect_viewer(_shell) -> None:
    """Makes ``show`` show in the kernel's output, whatever programs the machine has."""
    module = sys.modules["PIL.ImageShow"]

    class Viewer(module.Viewer):
        def show(self, image, **_options) -> int:
            _show(image)
            return 1

    module.register(Viewer(), 0)


def _show(image) -> None:
    from IPython.display import display

    display(image)


def _first(run: int) -> bool:
    if _shown["run"] != run:
        _shown.update(run=run, count=0)
    _shown["count"] += 1
    return _shown["count"] <= MOST
