"""Environment variables for the time of one run."""

from __future__ import annotations

import os


class RunEnv:
    """Sets the variables that a request's metadata names, and afterwards undoes exactly them.

    The metadata is ``{"ds_sandbox": {"env": {name: value}}}``; everything else in it is left alone. What
    the system can't take as a variable is left out and listed in ``refused``.
    """

    def __init__(self, metadata: object) -> None:
        ours = metadata.get("ds_sandbox") if isinstance(metadata, dict) else None
        env = ours.get("env") if isinstance(ours, dict) else None
        self._env: dict = env if isinstance(env, dict) else {}
        self._before: dict[str, str | None] = {}
        self.refused: list[object] = []

    def __enter__(self) -> RunEnv:
        for name, value in self._env.items():
            try:
                self._before[name] = os.environ.get(name)  # first, so that an interrupt here is undone too
                os.environ[name] = value
            except (TypeError, ValueError, OSError):  # not strings, not encodable, "=" or NUL inside
                self._before.pop(name, None)
                self.refused.append(name)
            except BaseException:
                self.__exit__()
                raise
        return self

    def __exit__(self, *_: object) -> None:
        interrupted = None
        while self._before:
            try:
                name, value = next(iter(self._before.items()))
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
                del self._before[name]
            except KeyboardInterrupt as e:  # meant for the code that ran, and no reason to stop half-way
                interrupted = e
        if interrupted:
            raise interrupted
