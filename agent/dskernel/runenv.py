"""Environment variables for the time of one run."""

import os
from contextlib import contextmanager


@contextmanager
def applied(metadata):
    """Sets the variables that the request's metadata names, and afterwards undoes exactly them.

    The metadata is ``{"ds_sandbox": {"env": {name: value}}}``; anything else is left alone.
    """
    ours = metadata.get("ds_sandbox") if isinstance(metadata, dict) else None
    env = ours.get("env") if isinstance(ours, dict) else None
    if not isinstance(env, dict) or not env:
        yield
        return
    before = {name: os.environ.get(name) for name in env}
    os.environ.update(env)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
