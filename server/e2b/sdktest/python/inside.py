"""Files, commands and terminals of a sandbox."""

import io
import urllib.error
import urllib.request

from e2b import (
    CommandExitException,
    FileNotFoundException,
    FilesystemEventType,
    FileType,
    InvalidArgumentException,
    NotFoundException,
    PtySize,
    Sandbox,
    SandboxException,
    TimeoutException,
)
from harness import DOCKER, Raises, check, main, until

sandbox = Sandbox.create(timeout=600, envs={"FROM_CREATE": "yes"})
files, commands = sandbox.files, sandbox.commands
home = files.write(".home", "").path.removesuffix("/.home")


@check("run")
def _():
    out, err = [], []
    result = commands.run("echo Grüße, 世界; echo err >&2", on_stdout=out.append, on_stderr=err.append)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "Grüße, 世界\n", "err\n")
    assert ("".join(out), "".join(err)) == (result.stdout, result.stderr)
    with Raises(CommandExitException) as raised:
        commands.run("echo before; exit 7")
    assert (raised.error.exit_code, raised.error.stdout) == (7, "before\n")
    assert commands.run("echo $FROM_CREATE $OWN", envs={"OWN": "a 'b'"}).stdout == "yes a 'b'\n"
    files.make_dir("folder")
    assert commands.run("pwd", cwd="folder").stdout.endswith("/folder\n")
    with Raises(TimeoutException):
        commands.run("sleep 300", timeout=0.5)


@check("users", docker=True)
def _():
    assert commands.run("whoami", user="root").stdout == "root\n"
    assert commands.run("sudo whoami; whoami; pwd").stdout == "root\nuser\n/home/user\n"
    files.write("/root/secret", "root", user="root")
    assert files.read("/root/secret", user="root") == "root"


@check("background commands")
def _():
    command = commands.run("echo begin; exec sleep 300", background=True)
    assert any(p.pid == command.pid for p in commands.list())
    for out, _, _ in command:
        assert out == "begin\n"
        break
    assert command.kill() and not command.kill() and not commands.kill(command.pid)
    heard = commands.run('read line; echo "heard $line"; exit 3', background=True, stdin=True)
    heard.disconnect()
    again = commands.connect(heard.pid)
    commands.send_stdin(heard.pid, "hello\n")
    with Raises(CommandExitException) as raised:
        again.wait()
    assert (raised.error.exit_code, raised.error.stdout) == (3, "heard hello\n")
    cat = commands.run("cat", background=True, stdin=True)
    cat.send_stdin("one ")
    commands.stream_input(cat.pid, ["two ", b"three\n"])
    cat.close_stdin()
    assert cat.wait().stdout == "one two three\n"
    closed = commands.run("cat", background=True, stdin=True)
    commands.close_stdin(closed.pid)
    assert closed.wait().exit_code == 0
    with Raises(NotFoundException):
        commands.connect(999999)


@check("terminals")
def _():
    terminal = sandbox.pty.create(PtySize(rows=30, cols=90), timeout=0)
    sandbox.pty.send_stdin(terminal.pid, b"stty size\n")
    sandbox.pty.stream_input(terminal.pid, [b"echo stream$((6", b"*7))\n"])
    seen = b""
    for _, _, data in terminal:
        seen += data or b""
        if b"30 90" in seen and b"stream42" in seen:
            break
    sandbox.pty.resize(terminal.pid, PtySize(rows=40, cols=100))
    other = sandbox.pty.connect(terminal.pid)
    sandbox.pty.send_stdin(terminal.pid, b"stty size; exit 4\n")
    seen = []
    with Raises(CommandExitException) as raised:
        other.wait(on_pty=seen.append)
    assert raised.error.exit_code == 4 and b"40 100" in b"".join(seen)
    endless = sandbox.pty.create(PtySize(rows=24, cols=80))
    assert sandbox.pty.kill(endless.pid) and not sandbox.pty.kill(endless.pid)


@check("write and read")
def _():
    info = files.write("a.txt", "Grüße")
    assert (info.name, info.path, info.type) == ("a.txt", f"{home}/a.txt", FileType.FILE)
    assert files.read("a.txt") == files.read(f"{home}/a.txt", format="text") == "Grüße"
    assert bytes(files.read("a.txt", format="bytes")).decode() == "Grüße"
    assert b"".join(files.read("a.txt", format="stream")).decode() == "Grüße"
    assert files.read("a.txt", gzip=True) == "Grüße"
    files.write("bytes", bytes(range(256)))
    assert bytes(files.read("bytes", format="bytes")) == bytes(range(256))
    files.write("file", io.BytesIO(b"like a file"))
    assert files.read("file") == "like a file"
    files.write("gz", "x" * 100_000, gzip=True)
    assert len(files.read("gz")) == 100_000
    files.write("empty", "")
    assert files.read("empty") == ""
    written = files.write_files([{"path": "many/one.txt", "data": "1"}, {"path": f"{home}/many/two.txt", "data": b"2"}])
    assert [f.path for f in written] == [f"{home}/many/one.txt", f"{home}/many/two.txt"]
    with Raises(FileNotFoundException):
        files.read("missing")
    with Raises(InvalidArgumentException):
        files.read(".")
    files.write("noted.txt", "x", metadata={"author": "ada"})
    assert files.get_info("noted.txt").metadata == {"author": "ada"}


@check("folders")
def _():
    files.write_files([{"path": "tree/b/c.txt", "data": "c"}, {"path": "tree/a.txt", "data": "a"}])
    assert [(e.type, e.name) for e in files.list("tree")] == [(FileType.FILE, "a.txt"), (FileType.DIR, "b")]
    assert [e.path for e in files.list("tree", depth=2)] == [f"{home}/tree/{n}" for n in ("a.txt", "b", "b/c.txt")]
    info = files.get_info("tree/a.txt")
    assert (info.size, info.mode, info.permissions) == (1, 0o644, "-rw-r--r--")
    if DOCKER:
        assert (info.owner, info.group) == ("user", "user")
    assert files.exists("tree") and not files.exists("nothing")
    assert files.make_dir("new/deep") and not files.make_dir("new/deep")
    assert files.rename("tree/a.txt", "moved/to.txt").path == f"{home}/moved/to.txt"
    files.remove("moved")
    assert not files.exists("moved")
    with Raises(FileNotFoundException):
        files.list("nothing")
    with Raises(InvalidArgumentException):
        files.list("tree", depth=0)
    with Raises(SandboxException):
        files.make_dir("bytes/below")


@check("watch_dir")
def _():
    files.make_dir("watched")
    handle = files.watch_dir("watched", recursive=True, include_entry=True)
    events = []

    def saw(kind, name):
        def look():
            events.extend(handle.get_new_events())
            return any((e.type, e.name) == (kind, name) for e in events)

        until(f"{kind} {name}", look)

    files.write("watched/one.txt", "1")
    saw(FilesystemEventType.CREATE, "one.txt")
    commands.run("echo more >> watched/one.txt; mkdir -p watched/x/y; echo 1 > watched/x/y/deep.txt")
    saw(FilesystemEventType.WRITE, "one.txt")
    saw(FilesystemEventType.CREATE, "x/y/deep.txt")
    files.remove("watched/one.txt")
    saw(FilesystemEventType.REMOVE, "one.txt")
    handle.stop()
    with Raises(SandboxException):
        handle.get_new_events()
    with Raises(FileNotFoundException):
        files.watch_dir("nothing")


@check("signed addresses")
def _():
    files.write("signed.txt", "signed")
    with urllib.request.urlopen(sandbox.download_url("signed.txt")) as answer:
        assert answer.read() == b"signed"
    body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="up.txt"\r\n\r\nuploaded\r\n--x--\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    with urllib.request.urlopen(urllib.request.Request(sandbox.upload_url("up.txt", use_signature_expiration=60), body, headers)) as answer:
        assert answer.status == 200
    assert files.read("up.txt") == "uploaded"
    try:
        urllib.request.urlopen(sandbox.download_url("signed.txt").replace("signed.txt", "other.txt"))
        raise AssertionError("it was let in")
    except urllib.error.HTTPError as error:
        assert error.code == 401 and b"invalid signature" in error.read()


@check("git")
def _():
    git = sandbox.git
    git.init("repo", initial_branch="main")
    git.configure_user("Ada", "ada@example.org", scope="local", path="repo")
    git.set_config("core.editor", "true", scope="local", path="repo")
    assert git.get_config("user.name", scope="local", path="repo") == "Ada"
    files.write("repo/a.txt", "one\n")
    git.add("repo")
    git.commit("repo", "first")
    assert git.status("repo").is_clean
    git.create_branch("repo", "work")
    git.checkout_branch("repo", "main")
    git.delete_branch("repo", "work")
    assert git.branches("repo").branches == ["main"]
    git.init("origin", bare=True)
    git.remote_add("repo", "origin", f"{home}/origin")
    assert git.remote_get("repo", "origin") == f"{home}/origin"
    git.push("repo", remote="origin", branch="main", set_upstream=True)
    git.clone(f"{home}/origin", path="clone", branch="main")
    git.pull("clone")
    assert files.read("clone/a.txt") == "one\n"
    files.write("repo/a.txt", "two\n")
    git.restore("repo", paths=["a.txt"])
    git.reset("repo", mode="hard")
    assert files.read("repo/a.txt") == "one\n"


@check("the end")
def _():
    assert sandbox.kill()
    with Raises(TimeoutException):
        commands.run("true")


main()
