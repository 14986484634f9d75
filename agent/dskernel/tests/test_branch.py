"""Tests of branch.py: copies of a running kernel."""

import pytest
from branching import Parked
from kernel import Kernel


@pytest.fixture
def kernel(kernel_python):
    k = Kernel(kernel_python)
    yield k
    k.close()


def test_a_copy_has_the_state_of_its_moment(kernel):
    kernel.run("x = 1; import math")
    with Parked(kernel) as parked:
        kernel.run("x = 2")
        with parked.wake() as copy:
            r = copy.run("x, math.pi > 3")
            assert r.result == "(1, True)"
            copy.run("x = 3")
            assert kernel.run("x").result == "2"
            assert copy.run("print(x)").stdout == "3\n"
