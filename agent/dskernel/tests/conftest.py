"""Fixtures: each test of the supervisor and of the launcher runs once for each interpreter."""

import os
import signal
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))

import interpreters  # noqa: E402
from kernel import Kernel  # noqa: E402


def pytest_generate_tests(metafunc):
    if "python" in metafunc.fixturenames:
        metafunc.parametrize("python", interpreters.listed())
    if "kernel_python" in metafunc.fixturenames:
        found = interpreters.kernels()
        if not found and "python" in os.environ.get("DS_SANDBOX_REQUIRE", ""):
            pytest.fail("no Python with ipykernel, and DS_SANDBOX_REQUIRE asks for one")
        missing = pytest.param("", marks=pytest.mark.skip(reason="no Python with ipykernel"))
        metafunc.parametrize("kernel_python", found or [missing], scope="module")


@pytest.fixture
def kernel(kernel_python):
    k = Kernel(kernel_python)
    yield k
    k.close()


@pytest.fixture(autouse=True)
def limit():
    """Ends a test that hangs, so that what it started is cleaned up."""

    def late(*_):
        raise TimeoutError("the test hangs")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(90)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
