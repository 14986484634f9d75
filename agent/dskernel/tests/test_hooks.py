"""Functions that are called once a library is imported."""

import importlib
import importlib.util
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from dskernel.hooks import when_imported  # noqa: E402


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A library that is not imported yet, by name."""
    name = "hooked_" + tmp_path.name.replace("-", "_")
    (tmp_path / (name + ".py")).write_text("value = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    sys.modules.pop(name, None)


def test_called_once_after_the_import(library):
    calls = []
    when_imported(library, lambda: calls.append(sys.modules[library].value))
    assert calls == []
    module = importlib.import_module(library)
    assert calls == [1]
    importlib.reload(module)
    assert calls == [1]


def test_who_asks_whether_a_library_is_there_imports_nothing(library):
    calls = []
    when_imported(library, lambda: calls.append(1))
    assert importlib.util.find_spec(library) is not None
    assert importlib.util.find_spec(library) is not None
    assert calls == []
    importlib.import_module(library)
    assert calls == [1]


def test_a_library_installed_later(tmp_path, library):
    calls = []
    when_imported(library + "_later", lambda: calls.append(1))
    with pytest.raises(ImportError):
        importlib.import_module(library + "_later")
    (tmp_path / (library + "_later.py")).write_text("")
    importlib.invalidate_caches()
    importlib.import_module(library + "_later")
    assert calls == [1]


def test_a_library_that_is_imported_already_and_a_call_that_fails(library):
    importlib.import_module(library)
    calls = []
    when_imported(library, lambda: 1 / 0)
    when_imported(library, lambda: calls.append(1))
    assert calls == [1]
