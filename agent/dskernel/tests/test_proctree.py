"""The tree of processes below one, which changes while it is looked at."""

import subprocess

import pytest
from supervise import FOLDER

# A process with a child and a grandchild, which becomes a child when the one between ends.
FAMILY = """
import os, signal, sys
sys.path.insert(0, %r)
import proctree
proctree.become("root")
root = os.getpid()
read, write = os.pipe()
between = os.fork()
if not between:
    if not os.fork():
        os.write(write, b"%%d" %% os.getpid())
    signal.pause()
grandchild = int(os.read(read, 100))

def orphan():
    os.kill(between, signal.SIGKILL)
    os.waitpid(between, 0)
    assert proctree._stat(grandchild)[proctree.PARENT] == b"%%d" %% root
"""

# After the children of root were listed, and before those of the child are.
BELOW = """
look, todo = proctree._children, [orphan]
def children(pid):
    found = look(pid)
    if pid == root and todo:
        todo.pop()()
    return found
proctree._children = children
assert list(proctree.below(root)) == [grandchild]
"""

# After the grandchild's parent was read, and before the parent's is.
IS_BELOW = """
stat, todo = proctree._stat, [orphan]
def fields(pid):
    found = stat(pid)
    if pid == grandchild and todo:
        todo.pop()()
    return found
proctree._stat = fields
assert proctree.is_below(grandchild, root)
assert not proctree.is_below(os.getppid(), root)
assert not proctree.is_below(between, root)
"""

END = """
os.kill(grandchild, signal.SIGKILL)
"""


@pytest.mark.parametrize("look", [BELOW, IS_BELOW])
def test_what_moves_while_it_is_looked_for_is_found(python, look):
    subprocess.run([python, "-I", "-S", "-c", FAMILY % str(FOLDER) + look + END], check=True, timeout=60)
