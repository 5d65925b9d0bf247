"""The command `vda` in processes of its own, forked from one that has imported torch: quick to start, free to kill."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SMALL = ("--encoder", "vits", "--input_size", "28", "--device", "cpu", "--backend", "torch", "--fp32")

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["video_depth_anything.pipelines.commands", "video_depth_anything.backends.load", "matplotlib", "cv2"]
)


@dataclass(frozen=True)
class Result:
    """How a run ended: its exit code, negative for a signal, and what it said."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """Errors and warnings, a line each."""
        return [line for line in self.err.splitlines() if re.match(r"(error|warning): ", line)]


class Run:
    """A run of `vda` that goes on until it ends, or is killed.

    Args:
        words: the command line after `vda`.
        folder: where it runs; what it says is kept beside it.
        limits: of `resource`, by their names; RLIMIT_AS counts from what the process has.
        out, err: file descriptors instead of files. encoding: that the console has.
        steps: after so many files were opened for writing, renamed or removed outside hidden folders, it kills itself.
    """

    def __init__(
        self,
        *words: str | Path,
        folder: Path,
        limits: Mapping[str, int] | None = None,
        out: int | None = None,
        err: int | None = None,
        encoding: str = "utf-8",
        steps: int | None = None,
    ) -> None:
        number = sum(1 for _ in folder.parent.glob("said-*"))
        self._said = folder.parent / f"said-{number}"
        self._said.mkdir()
        given = [str(word) for word in words]
        arguments = (given, str(folder), str(self._said), dict(limits or {}), _sent(out), _sent(err), encoding, steps)
        self._process = _CONTEXT.Process(target=_run, args=arguments)
        self._process.start()

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def text(self) -> str:
        """Everything it has said so far."""
        return self._text("out") + self._text("err")

    def until(self, condition: Callable[[], bool], seconds: float = 90) -> None:
        """Wait until something is so."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.alive, f"ended too early: {self._text('err')}"
            assert time.monotonic() < deadline, f"never came: {self._text('err')}"
            time.sleep(0.005)

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def code(self, seconds: float) -> int | None:
        """Wait for the end: the exit code, None where the run hung and had to be killed."""
        self._process.join(seconds)
        if self.alive:
            self._process.kill()
            self._process.join()
            return None
        return self._process.exitcode

    def ended(self, seconds: float = 90) -> Result:
        """Wait for the end; a run that hangs is killed and fails the test."""
        code = self.code(seconds)
        assert code is not None, f"hung: {self._text('err')}"
        return Result(code, self._text("out"), self._text("err"))

    def _text(self, name: str) -> str:
        path = self._said / name
        return path.read_text(errors="replace") if path.exists() else ""


def run(*words: str | Path, folder: Path, limits: Mapping[str, int] | None = None) -> Result:
    """Run `vda` to its end, without a traceback."""
    result = Run(*words, folder=folder, limits=limits).ended()
    assert "Traceback" not in result.err, result.err
    return result


def _sent(descriptor: int | None) -> object:
    from multiprocessing.reduction import DupFd

    return None if descriptor is None else DupFd(descriptor)


def _run(
    words: Sequence[str],
    folder: str,
    said: str,
    limits: Mapping[str, int],
    out: object,
    err: object,
    encoding: str,
    steps: int | None,
) -> None:
    import resource
    import sys

    import torch

    from video_depth_anything.cli.main import main

    # Frames this small have nothing to share, and other tests may be running.
    torch.set_num_threads(1)

    for number, name, given in ((1, "out", out), (2, "err", err)):
        path = Path(said) / name
        descriptor = os.open(path, os.O_CREAT | os.O_WRONLY) if given is None else given.detach()  # type: ignore[attr-defined]
        os.dup2(descriptor, number)
        os.close(descriptor)
    for stream in (sys.stdout, sys.stderr) if encoding != "utf-8" else ():
        stream.reconfigure(encoding=encoding, errors="strict")  # type: ignore[union-attr]
    os.chdir(folder)
    for name, limit in limits.items():
        if name == "RLIMIT_AS":
            # Libraries have mapped several gigabytes, of code and reserves.
            limit += int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(getattr(resource, name), (limit, limit))
    if steps is not None:
        _kill_after(steps)
    sys.exit(main(words))


def _kill_after(steps: int) -> None:
    import sys

    done = 0

    def hook(event: str, args: tuple[object, ...]) -> None:
        nonlocal done
        # The arguments are paths, and of `open` the path, the mode and the flags.
        writes = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
        if (writes or event in ("os.rename", "os.remove", "os.rmdir")) and ".partial-" not in str(
            args[event == "os.rename"]
        ):
            if done == steps:
                os.kill(os.getpid(), signal.SIGKILL)
            done += 1

    sys.addaudithook(hook)


def shown(folder: Path) -> set[str]:
    """Names of what is in a folder, as a user sees them."""
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def left(folder: Path) -> set[str]:
    """Names of what only a run that goes on may have in its folder."""
    return {path.name for path in folder.iterdir() if re.search(r"partial|run-lock|_windows", path.name)}


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder that a user sees."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    seen = ((path.relative_to(folder), path) for path in paths)
    return {str(name): path.read_bytes() for name, path in seen if not name.parts[0].startswith(".")}
