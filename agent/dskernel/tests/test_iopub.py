"""DirectIOPub: messages leave from the thread that has them, in order and whole."""

import json

import pytest
import zmq
from kernel import Kernel


@pytest.fixture(scope="module")
def kernel(kernel_python):
    k = Kernel(kernel_python)
    k.run("import sys, threading, time\nfrom IPython.display import display")
    yield k
    k.close()


def test_messages_leave_from_their_thread(kernel):
    assert kernel.run("type(sys.stdout.pub_thread).__name__").result == "'DirectIOPub'"


def test_threads_do_not_mix_up_their_messages(kernel):
    code = """
def show(name):
    for i in range(200):
        display({'text/plain': '%s %d' % (name, i), 'big': 'x' * (i * 1000)}, raw=True)
        print(name, i, flush=True)
threads = [threading.Thread(target=show, args=(n,)) for n in 'abc']
for t in threads: t.start()
show('m')
for t in threads: t.join()
"""
    r = kernel.run(code)
    for name in "abcm":
        shown = [c["data"]["text/plain"] for c in r.of("display_data")]
        assert [x for x in shown if x[0] == name] == ["%s %d" % (name, i) for i in range(200)]


def test_subscribers_that_come_in_the_middle_are_served(kernel):
    with open(kernel.connection) as f:
        connection = json.load(f)
    endpoint = "ipc://%s-%d" % (connection["ip"], connection["iopub_port"])
    number = kernel.send("n = 0\nwhile n < 300:\n    n += 1\n    print(n, flush=True)\n    time.sleep(0.005)")
    with zmq.Context() as context:
        for _ in range(10):
            with context.socket(zmq.SUB) as socket:
                socket.linger = 0
                socket.subscribe(b"")
                socket.connect(endpoint)
                assert socket.poll(10_000), "heard nothing"
                assert b"<IDS|MSG>" in socket.recv_multipart()
    assert kernel.collect(number).stdout == "".join("%d\n" % (i + 1) for i in range(300))


def test_interrupted_displays_leave_the_channel_whole(kernel):
    for size in (10, 200_000) * 5:
        code = "while True: display({'text/plain': 'x' * %d}, raw=True); print('shown', flush=True)" % size
        r = kernel.run_interrupted(code)
        assert r.reply["ename"] == "KeyboardInterrupt"
        assert {len(c["data"]["text/plain"]) for c in r.of("display_data")} == {size}
        assert kernel.run("print('on')").stdout == "on\n"


def test_children_are_heard_after_direct_messages(kernel):
    code = """
import os
for i in range(10):
    print('parent', i, flush=True)
    if os.fork() == 0:
        print('child', i)
        os._exit(0)
    os.wait()
time.sleep(0.3)
"""
    lines = kernel.run(code).stdout.splitlines()
    assert sorted(lines) == sorted("%s %d" % (who, i) for who in ("parent", "child") for i in range(10))
