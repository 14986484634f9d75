"""HTML of figures that need a library of JavaScript, which is megabytes: it comes once a session.

Comments name the library: the host keeps its script, and puts it before a figure whose page has none.
sandbox/library.go reads them.
"""

from __future__ import annotations

import os
import re
import sys

_sent: set[str] = set()


def page(library: str, version: str, script, body: str) -> str:
    """Returns the body, with the library before it when this is the first figure that needs it.

    script() returns the library as HTML.
    """
    library = re.sub("[^a-z0-9.-]", "-", "%s-%s" % (library, version))[:64]
    if library in _sent:
        return "<!--ds-sandbox needs %s-->\n%s" % (library, body)
    made = "<!--ds-sandbox library %s-->\n%s<!--ds-sandbox end-->\n%s" % (library, script(), body)
    if not _captured():
        _sent.add(library)
    return made


def _captured() -> bool:
    """Reports whether what is shown now stays in the kernel, and may never be seen: capture_output."""
    module = sys.modules.get("IPython.core.interactiveshell")
    shell = getattr(module.InteractiveShell, "_instance", None) if module else None
    return type(getattr(shell, "display_pub", None)).__name__ == "CapturingDisplayPublisher"


def forget() -> None:
    """Begins a new session: the next figure of each library comes with its JavaScript."""
    _sent.clear()


# A copy of a kernel has a journal of its own, or takes the place of a kernel whose figures are undone.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget)


def inline(javascript: str) -> str:
    """Returns JavaScript as an element of HTML. Loaders of modules of a page must not take it for one."""
    return (
        '<script type="text/javascript">(function(define, module, exports){'
        + javascript.replace("</script", "<\\/script")
        + "}).call(window);</script>"
    )
