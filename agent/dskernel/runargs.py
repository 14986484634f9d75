"""A script's arguments and name for the time of one run."""

from __future__ import annotations

import sys

NAME = "__file__"


class RunArgs:
    """Sets ``sys.argv`` and ``__file__`` as a request's metadata says, and afterwards puts back what was.

    The metadata is ``{"ds_sandbox": {"argv": [name, argument, ...]}}``. What the code itself makes of the two
    in the meantime does not outlast the run.
    """

    def __init__(self, metadata: object, namespace: dict) -> None:
        ours = metadata.get("ds_sandbox") if isinstance(metadata, dict) else None
        argv = ours.get("argv") if isinstance(ours, dict) else None
        good = isinstance(argv, list) and argv and all(isinstance(a, str) for a in argv)
        self._argv: list[str] | None = argv if good else None
        self._namespace = namespace

    def __enter__(self) -> RunArgs:
        if self._argv is not None:
            self._before = sys.argv, self._namespace.get(NAME, self)
            sys.argv = list(self._argv)
            if self._argv[0] not in ("-", "-c"):  # which name no file
                self._namespace[NAME] = self._argv[0]
        return self

    def __exit__(self, *_: object) -> None:
        if self._argv is None:
            return
        sys.argv, name = self._before
        if name is self:
            self._namespace.pop(NAME, None)
        else:
            self._namespace[NAME] = name
