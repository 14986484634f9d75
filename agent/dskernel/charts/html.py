"""HTML of figures that need a library of JavaScript, which is megabytes: it comes once a session."""

from __future__ import annotations

_sent: set[str] = set()


def page(library: str, script, body: str) -> str:
    """Returns the body, with the library before it when this is the first figure that needs it.

    script() returns the library as HTML.
    """
    if library in _sent:
        return body
    made = script() + "\n" + body
    _sent.add(library)
    return made


def forget() -> None:
    """Begins a new session: the next figure of each library comes with its JavaScript."""
    _sent.clear()


def inline(javascript: str) -> str:
    """Returns JavaScript as an element of HTML. Loaders of modules of a page must not take it for one."""
    return (
        '<script type="text/javascript">(function(define, module, exports){'
        + javascript.replace("</script", "<\\/script")
        + "}).call(window);</script>"
    )
