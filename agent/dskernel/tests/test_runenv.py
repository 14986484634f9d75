"""RunEnv by itself."""

import importlib.util
import os
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def RunEnv():
    file = Path(__file__).resolve().parent.parent / "runenv.py"
    spec = importlib.util.spec_from_file_location("runenv_under_test", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.RunEnv


def metadata(**env):
    return {"ds_sandbox": {"env": env}}


def test_what_the_system_cannot_take_is_refused(RunEnv):
    before = dict(os.environ)
    env = {
        "DS_A": "1",
        "": "x",
        "DS=B": "x",
        "DS\0": "x",
        "DS_N": 5,
        "DS_NUL": "a\0b",
        "DS_S": "\ud800",
        7: "x",
    }
    with RunEnv({"ds_sandbox": {"env": env}}) as run:
        assert run.refused == [name for name in env if name != "DS_A"]
        assert dict(os.environ) == {**before, "DS_A": "1"}
    assert dict(os.environ) == before


def test_interrupt_while_undoing_stops_nothing(RunEnv, monkeypatch):
    class Interrupted(type(os.environ)):
        interrupts = 2

        def pop(self, *args):
            if self.interrupts:
                self.interrupts -= 1
                raise KeyboardInterrupt
            return super().pop(*args)

    monkeypatch.setattr(os.environ, "__class__", Interrupted)
    before = dict(os.environ)
    with pytest.raises(KeyboardInterrupt):
        with RunEnv(metadata(DS_A="1", DS_B="2")):
            pass
    assert dict(os.environ) == before


def test_interrupt_while_setting_is_undone(RunEnv, monkeypatch):
    class Interrupted(type(os.environ)):
        def __setitem__(self, name, value):
            super().__setitem__(name, value)
            if name == "DS_B":
                raise KeyboardInterrupt

    monkeypatch.setattr(os.environ, "__class__", Interrupted)
    before = dict(os.environ)
    with pytest.raises(KeyboardInterrupt):
        with RunEnv(metadata(DS_A="1", DS_B="2", DS_C="3")):
            raise AssertionError("not reached")
    assert dict(os.environ) == before
