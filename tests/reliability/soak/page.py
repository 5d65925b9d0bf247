"""Visitors of the page: jobs that finish, are cancelled, lose their tab, and uploads that want something else."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path

from .mutations import mutated
from .trial import ROOT, Row, make_clip
from .visitor import Visitor, wanted

JOBS, AT_ONCE = 50, 3
# Seconds after which the page has removed what nobody owns.
SWEPT = 150.0
# The page, with less patience for visitors who have gone: the trial is to end.
HASTY = (
    "from video_depth_anything.web import visitors; visitors.KEPT_SECONDS, visitors.ABSENT_SECONDS = 60.0, 10.0; "
    "from video_depth_anything.cli.main import main; raise SystemExit(main())"
)
SECRET = b"what nobody may read"


class Trial:
    """Fifty jobs against one server.

    Args:
        row: takes what is found.
        folder: for clips. port: of the server.
    """

    def __init__(self, row: Row, folder: Path, port: int, seed: int) -> None:
        self._row, self._folder, self._port = row, folder, port
        self._chance = random.Random(seed)
        self._lock = threading.Lock()
        self._seen: Counter[str] = Counter()
        self._short = make_clip(folder / "short.mp4", 12).read_bytes()
        self._long = make_clip(folder / "long.mp4", 300).read_bytes()
        self._playlist_target = make_clip(folder / "private.ts", 12)
        (folder / "secret.txt").write_bytes(SECRET)
        kinds: list[Callable[[Visitor, random.Random], None]] = [
            self.finished, self.cancelled, self.closed, self.hostile, self.hostile,
        ]  # fmt: skip
        rare: list[Callable[[Visitor, random.Random], None]] = [self.slow, self.tabs, self.stopped]
        self._jobs = [(kinds[index % len(kinds)], random.Random(f"{seed} {index}")) for index in range(JOBS)]
        self._jobs += [(kind, random.Random(f"{seed} {kind.__name__}")) for kind in rare]

    def run(self) -> None:
        """All jobs, a few at once."""
        threads = [threading.Thread(target=self._work) for _ in range(AT_ONCE)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self._row.tried += ": " + ", ".join(f"{count} {name}" for name, count in sorted(self._seen.items()))

    def _saw(self, what: str) -> None:
        with self._lock:
            self._seen[what] += 1

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._jobs:
                    return
                kind, chance = self._jobs.pop()
            visitor = Visitor("127.0.0.1", self._port)
            try:
                kind(visitor, chance)
            except TimeoutError:
                self._found(hung=f"{kind.__name__}: no answer")
            except (OSError, HTTPException, ValueError) as error:
                self._found(lost=f"{kind.__name__}: {error!r}")

    def _found(self, lost: str = "", leaked: str = "", hung: str = "") -> None:
        print(lost or leaked or hung, file=sys.stderr, flush=True)
        with self._lock:
            self._row.lost += bool(lost)
            self._row.leaked += bool(leaked)
            self._row.hung += bool(hung)

    def _begun(self, visitor: Visitor, name: str, content: bytes) -> bool:
        upload = visitor.upload(name, content)
        status = "" if upload is None else visitor.begin(upload, ["npz"])
        while "waiting" in status and "<progress" not in status:  # jobs of closed tabs give way after a while
            time.sleep(2)
            status = visitor.begin(upload or "", ["npz"])
        if "<progress" not in status:
            self._found(lost=f"{name}: refused: {status}")
        return "<progress" in status

    def finished(self, visitor: Visitor, chance: random.Random) -> None:
        """A job that has its results, which nobody else can read."""
        if not self._begun(visitor, "short.mp4", self._short):
            return
        status, results = visitor.outcome()
        if not status.startswith("Done: 12 frames") or len(results) != 4:
            self._found(lost=f"no result: {status} {results}")
            return
        self._saw("finished")
        stranger = Visitor("127.0.0.1", self._port)
        for path in results:
            code, _, content = visitor.ask("GET", f"/{path}")
            if code != 200 or not content:
                self._found(lost=f"{path}: {code}")
            if stranger.ask("GET", f"/{path}")[0] == 200:
                self._found(leaked=f"{path} to a stranger")
        if "/job_" in str(stranger.outcome()):
            self._found(leaked="another's result")

    def cancelled(self, visitor: Visitor, chance: random.Random) -> None:
        """A job whose visitor thinks better of it, waiting or running."""
        if not self._begun(visitor, "long.mp4", self._long):
            return
        time.sleep(chance.uniform(0, 4))
        visitor.press("cancel", [])
        self._saw("cancelled")
        status, results = visitor.outcome()
        if not status.startswith("Cancelled") or "/job_" in str(results):
            self._found(lost=f"a cancelled job went on: {status}")

    def closed(self, visitor: Visitor, chance: random.Random) -> None:
        """A tab that is closed in the midst of it, and never comes back."""
        if self._begun(visitor, "long.mp4", self._long):
            time.sleep(chance.uniform(0, 4))
            self._saw("closed")

    def slow(self, visitor: Visitor, chance: random.Random) -> None:
        """Headers and an upload that come a byte at a time, and never end: they are given up, others are answered."""
        lines = f"POST /gradio_api/upload HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {visitor.cookie}\r\n"
        upload = f"{lines}Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 900000\r\n\r\n--x\r\n"
        held = [socket.create_connection(("127.0.0.1", self._port), 30) for _ in range(300)]
        for index, connection in enumerate(held):
            with suppress(OSError):
                connection.sendall((upload if index < 4 else lines).encode())
        for _ in range(25):
            time.sleep(2)
            for connection in held:
                with suppress(OSError):
                    connection.sendall(b"x")
        for connection in held:
            connection.settimeout(5)
            try:
                while connection.recv(1000):
                    pass
            except TimeoutError:
                self._found(hung="a slow request is still open")
            except OSError:
                pass
            connection.close()
        self._saw("slow")

    def tabs(self, visitor: Visitor, chance: random.Random) -> None:
        """Two tabs of one visitor: one job at a time, and both show it."""
        other = Visitor("127.0.0.1", self._port)
        other.cookie = visitor.cookie
        if not self._begun(visitor, "short.mp4", self._short):
            return
        upload = other.upload("second.mp4", self._short)
        said = other.begin(upload or "", [])
        first, second = visitor.outcome(), other.outcome()
        if "Another video of yours" not in said and "<progress" not in said:
            self._found(lost=f"two tabs: {said}")
        if first[1] != second[1] or not first[0].startswith("Done"):
            self._found(lost=f"two tabs see different results: {first} {second}")
        self._saw("two tabs")

    def stopped(self, visitor: Visitor, chance: random.Random) -> None:
        """A decoder that is stopped in mid-job costs that job alone."""
        if not self._begun(visitor, "stopped.mp4", self._long):
            return
        while "% of" not in (status := visitor.press("look", [])) and "<progress" in status:
            time.sleep(0.5)
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if b"web.decoder" in (words := (folder / "cmdline").read_bytes()) and b"/stopped.mp4" in words:
                    os.kill(int(folder.name), signal.SIGSTOP)
        status, _ = visitor.outcome()
        if "gave no frame for 60 seconds" not in status and not status.startswith("Done"):
            self._found(lost=f"a stopped decoder: {status}")
        self._saw("decoder stopped")

    def hostile(self, visitor: Visitor, chance: random.Random) -> None:
        """An upload that wants something else, or is broken."""
        name, content = chance.choice(list(self._attacks(chance)))
        upload = visitor.upload(name, content)
        self._saw("hostile")
        for path in ("/etc/passwd", str(self._folder / "secret.txt"), "http://127.0.0.1:1/x.mp4", upload or ""):
            status = visitor.begin(path, ["npz"]) if path else ""
            if not status:
                continue
            if "<progress" in status:
                status, _ = visitor.outcome()
            read = status.startswith("Done")
            self._saw("read all the same" if read else "refused")
            if read and path != upload:
                self._found(leaked=f"{path} was read")
            if read and name.startswith("list."):
                self._found(leaked=f"{name} reads other files")
            if "Traceback" in status:
                self._row.tracebacks += 1
        for other in (str(self._folder / "secret.txt"), "/etc/passwd", "../../../../etc/passwd"):
            if visitor.ask("GET", wanted(other))[0] == 200:
                self._found(leaked=f"{other} was served")

    def _attacks(self, chance: random.Random) -> Iterator[tuple[str, bytes]]:
        target = self._playlist_target
        head = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n"
        yield "list.m3u8", f"{head}{target}\n#EXT-X-ENDLIST\n".encode()
        yield "list.mp4", f"{head}file://{target}\n#EXT-X-ENDLIST\n".encode()
        yield "list.ffconcat", f"ffconcat version 1.0\nfile {target}\n".encode()
        yield "large.y4m", b"YUV4MPEG2 W60000 H60000 F25:1 C420\nFRAME\n"
        yield "rate.y4m", b"YUV4MPEG2 W64 H48 F0:1 C420\nFRAME\n" + bytes(64 * 48 * 3 // 2)
        yield "empty.mp4", b""
        yield "../../escape.mp4", self._short
        yield "page.svg", b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
        for number in range(8):
            yield f"damaged{number}.mp4", mutated(self._short, chance)


@contextmanager
def serving(row: Row, folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], int, Path]]:
    """A page with a folder of its own for temporary files; ended as a service manager does it."""
    temporary = folder / "temporary"
    temporary.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = ["--server_port", str(port), "--no_browser", "--encoder", "vits", "--device", "cpu", "--input_size", "28"]
    environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)}
    log = folder / "said.txt"
    with log.open("wb") as said:
        command = [sys.executable, "-c", HASTY, "app", *words]
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=said, stderr=said)
    try:
        yield process, port, temporary
        row.lost += process.poll() is not None
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(90)
        except subprocess.TimeoutExpired:
            row.hung += 1
            process.kill()
            process.wait()
        row.judge(log.read_text(errors="replace"))
    row.leaked += len(list(temporary.iterdir()))


def kept(temporary: Path) -> list[str]:
    """Folders of visitors' files."""
    return [path.name for path in temporary.glob("depth_page_*/*") if path.name not in (".lock", "public", "incoming")]


def trial(folder: Path, seed: int) -> Row:
    """Fifty jobs, and what is left of them minutes later, and at the end."""
    row = Row("the page", f"{JOBS} jobs of {AT_ONCE} visitors at once")
    with serving(row, folder) as (_, port, temporary):
        _wait_for(port)
        before = set(kept(temporary))
        Trial(row, folder, port, seed).run()
        begun = time.monotonic()
        while set(kept(temporary)) - before and time.monotonic() - begun < SWEPT:
            time.sleep(2)
        left = set(kept(temporary)) - before
        if left:
            print("left: ", *sorted(left), file=sys.stderr)
        row.leaked += len(left)
    return row


def _wait_for(port: int) -> None:
    for _ in range(600):
        try:
            Visitor("127.0.0.1", port)
            return
        except (OSError, HTTPException):
            time.sleep(0.2)
    raise TimeoutError("the page did not come")
