"""The same again, as the asynchronous classes have it."""

import asyncio

from e2b import AsyncSandbox as AsyncCore
from e2b import (
    AsyncTemplate,
    AsyncVolume,
    CommandExitException,
    FilesystemEventType,
    NotFoundException,
    PtySize,
    SandboxNotFoundException,
    TimeoutException,
)
from e2b_code_interpreter import AsyncSandbox
from harness import Raises, check, main

sandbox = None


async def until(what, test):
    for _ in range(600):
        if test():
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"it never came to be that {what}")


@check("control plane")
async def _():
    global sandbox
    sandbox = await AsyncSandbox.create(timeout=600, metadata={"program": "async-py"})
    assert await sandbox.is_running()
    listed = await AsyncSandbox.list(limit=100).next_items()
    assert any(s.sandbox_id == sandbox.sandbox_id for s in listed)
    assert (await sandbox.get_info()).metadata == {"program": "async-py"}
    await sandbox.set_timeout(700)
    assert await sandbox.get_metrics()
    assert await sandbox.pause() and not await sandbox.pause()
    await sandbox.connect()
    again = await AsyncSandbox.connect(sandbox.sandbox_id)
    assert await again.is_running()
    snapshot = await sandbox.create_snapshot()
    assert [s.snapshot_id for s in await sandbox.list_snapshots().next_items()] == [snapshot.snapshot_id]
    assert await AsyncSandbox.delete_snapshot(snapshot.snapshot_id)
    (fork,) = await sandbox.fork()
    assert await fork.kill()
    assert await AsyncTemplate.exists("base")
    with Raises(Exception, "501"):
        await AsyncVolume.list()


@check("code")
async def _():
    out = []
    execution = await sandbox.run_code("print('hi')\n1 + 1", on_stdout=lambda m: out.append(m.line))
    assert execution.text == "2" and out == ["hi\n"]
    context = await sandbox.create_code_context()
    both = await asyncio.gather(sandbox.run_code("1"), sandbox.run_code("2", context=context))
    assert [e.text for e in both] == ["1", "2"]
    assert context.id in [c.id for c in await sandbox.list_code_contexts()]
    await sandbox.restart_code_context(context)
    await sandbox.remove_code_context(context)
    with Raises(NotFoundException):
        await sandbox.run_code("1", context=context)
    with Raises(TimeoutException):
        await sandbox.run_code("import time; time.sleep(60)", timeout=1)


@check("commands and terminals")
async def _():
    assert (await sandbox.commands.run("echo hello")).stdout == "hello\n"
    with Raises(CommandExitException):
        await sandbox.commands.run("exit 3")
    out = []
    command = await sandbox.commands.run("cat", background=True, stdin=True, on_stdout=out.append)
    await command.send_stdin("typed\n")
    await until("it came back", lambda: "".join(out) == "typed\n")
    await command.close_stdin()
    assert (await command.wait()).exit_code == 0
    shown = []
    terminal = await sandbox.pty.create(PtySize(rows=30, cols=90), on_data=shown.append)
    await sandbox.pty.send_stdin(terminal.pid, b"stty size; exit\n")
    await terminal.wait()
    assert b"30 90" in b"".join(shown)


@check("files")
async def _():
    files, events = sandbox.files, []
    await files.make_dir("watched")
    handle = await files.watch_dir("watched", on_event=events.append)
    await files.write("watched/a.txt", "text")
    await until("the file was seen", lambda: any((e.type, e.name) == (FilesystemEventType.CREATE, "a.txt") for e in events))
    await handle.stop()
    assert await files.read("watched/a.txt") == "text"
    assert [e.name for e in await files.list("watched")] == ["a.txt"]
    assert await files.exists("watched/a.txt")
    await files.rename("watched/a.txt", "b.txt")
    assert (await files.get_info("b.txt")).size == 4
    await files.write_files([{"path": "c.txt", "data": "c"}, {"path": "d.txt", "data": b"d"}])
    await files.remove("b.txt")
    assert not await files.exists("b.txt")


@check("many at once")
async def _():
    outputs = await asyncio.gather(*(sandbox.commands.run(f"echo {i}") for i in range(20)))
    assert [o.stdout for o in outputs] == [f"{i}\n" for i in range(20)]
    runs = await asyncio.gather(*(sandbox.run_code(str(i)) for i in range(20)))
    assert [r.text for r in runs] == [str(i) for i in range(20)]


@check("a kill during a command")
async def _():
    doomed = await AsyncCore.create()
    running = await doomed.commands.run("sleep 300", background=True)
    assert await doomed.kill()
    with Raises(TimeoutException):
        await running.wait()
    assert await sandbox.kill() and not await sandbox.kill()
    with Raises(SandboxNotFoundException):
        await sandbox.get_info()


main()
