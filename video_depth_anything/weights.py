"""Downloads the public checkpoints: resumable, verified, one process at a time. Imports nothing heavy."""

from __future__ import annotations

import hashlib
import http.client
import logging
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .config import EncoderName, checkpoint_name
from .errors import CheckpointError, OutputError

logger = logging.getLogger(__name__)

ByteProgress = Callable[[int], None]
# The clip that comes with the project, for `bundled`.
EXAMPLE = "example_videos/box.mp4"
ENDPOINT = "https://huggingface.co"
# Time-out of a silent server, in seconds.
TIMEOUT = 30.0
# Maximum number of consecutive attempts without new data.
ATTEMPTS = 4
# Bytes per second: a slower transfer over a minute counts as broken off.
LEAST_RATE = 5_000
PATIENCE = 60.0
_REPOSITORIES = {"vits": "Video-Depth-Anything-Small", "vitb": "Video-Depth-Anything-Base"}
_REPOSITORIES["vitl"] = "Video-Depth-Anything-Large"
_PIECE = 1 << 20


@dataclass(frozen=True)
class Weights:
    """One public checkpoint: its encoder, whether it predicts metres, its size in bytes and its SHA-256."""

    encoder: EncoderName
    metric: bool
    size: int
    sha256: str

    @property
    def name(self) -> str:
        """Its name for users, such as metric_vits."""
        return f"{'metric_' if self.metric else ''}{self.encoder}"

    @property
    def file(self) -> str:
        """Its file name in ./checkpoints."""
        return checkpoint_name(self.encoder, self.metric)

    @property
    def repository(self) -> str:
        """Its id on the hub."""
        return f"depth-anything/{'Metric-' if self.metric else ''}{_REPOSITORIES[self.encoder]}"

    @property
    def licence(self) -> str:
        """Its licence, from its model card on the hub."""
        return "Apache-2.0" if self.encoder == "vits" else "CC-BY-NC-4.0 (non-commercial use only)"

    def address(self) -> str:
        """Its URL; the environment variable HF_ENDPOINT sets a mirror of the hub."""
        return f"{(os.environ.get('HF_ENDPOINT') or ENDPOINT).rstrip('/')}/{self.repository}/resolve/main/{self.file}"


# Sizes and hashes of the hub's LFS objects. They were taken from public repositories that pin these files, at least two
# independent ones for each hash, because the hub could not be reached. get_weights.sh also reads these lines.
CATALOGUE = (
    Weights("vits", False, 116_440_756, "13379300b739e659f076a59d52e9801bd8d38c541a7e71f73bbca4dcfb013609"),
    Weights("vits", True, 116_444_063, "3c28432b4e1f0d7bb31cad5151b6313b49457db5aa58d82e85bfb0f8b1311b33"),
    Weights("vitb", False, 458_247_082, "775e578e8f9431ec0496514aa466bd0a1f67c28d0f518267809f35a43c04329b"),
    Weights("vitb", True, 458_249_567, "f6f58576b9680a112f2428d4f39aff92656d3ae85745b0164675ace8d5b1fade"),
    Weights("vitl", False, 1_538_392_012, "43df27c6b396042ba34ff7b798ab279f64d204d2e86d7a373968f8fa36d0e6fa"),
    Weights("vitl", True, 1_538_348_216, "24eba25342e7ee0f054be25da6a852ebd7cfa40cd6bf41a353ecb6abfe24e620"),
)


def bundled(relative: str) -> Path:
    """Path of a file that comes with this project, in an installed package as well as in a clone of the repository.

    Args:
        relative: path within the folder `assets`, such as "example_videos/box.mp4".
    """
    package = Path(__file__).resolve().parent
    installed = package / "assets" / relative
    return installed if installed.exists() else package.parent / "assets" / relative


def file_kind(head: bytes, size: int) -> Literal["zip", "safetensors"] | None:
    """The kind of a file by its first nine bytes: PyTorch's zip, safetensors, or None for anything else."""
    if head[:4] == b"PK\x03\x04":
        return "zip"
    # Safetensors files begin with the length of their header, eight bytes, and the header, which is JSON.
    if head[8:] == b"{" and int.from_bytes(head[:8], "little") <= size - 8:
        return "safetensors"
    return None


def fetch(
    weights: Weights,
    folder: Path,
    on_progress: ByteProgress | None = None,
    timeout: float = TIMEOUT,
    pause: float = 1.0,
    patience: float = PATIENCE,
) -> Path:
    """Download a checkpoint unless it exists and is intact; the environment's proxies are used.

    Until its size and hash are verified, the file has `.part` added to its name. If the transfer breaks off, or the
    process ends, that file stays, and the next call continues it.

    Args:
        weights: one of `CATALOGUE`.
        folder: where to put it; made if missing.
        on_progress: called regularly with the number of bytes received.
        timeout: time-out of a silent server, in seconds.
        pause: seconds before another attempt; doubled after each one without new data.
        patience: seconds over which the minimum rate is measured.

    Raises:
        CheckpointError: if the file cannot be downloaded, or is not the expected one.
        OutputError: if it cannot be written, or a different file has its name, which is kept.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder / f".{weights.file}.lock", weights.name):
            path = folder / weights.file
            if path.is_file():
                if mismatch(path, weights) is not None:
                    raise OutputError(kept(path, weights))
                logger.info("%s: already there: %s (SHA-256 verified)", weights.name, path)
                return path
            part = path.with_name(f"{path.name}.part")
            _download(weights, part, on_progress or (lambda _: None), timeout, pause, patience)
            part.replace(path)
            logger.info("%s: downloaded: %s (SHA-256 verified)", weights.name, path)
            return path
    except OSError as error:
        raise OutputError(f"{error.filename or folder} cannot be written: {error.strerror or error}") from error


def mismatch(path: Path, weights: Weights) -> str | None:
    """Describe how a file differs from the expected checkpoint; None if it does not."""
    size = path.stat().st_size
    if size != weights.size:
        return f"expected {weights.size} bytes, found {size}"
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)
        kind = file_kind(file.read(9), size)
    if found != weights.sha256:
        return f"expected SHA-256 {weights.sha256}, found {found}"
    return None if kind else "neither a PyTorch zip nor a safetensors file"


def kept(path: Path, weights: Weights) -> str:
    """Explain why a file of that name is not replaced, with two remedies."""
    return (
        f"{path} is not the public checkpoint {weights.name}, so it is kept: to use it, name it "
        f"(--checkpoint {path}, or from_pretrained({str(path)!r})), or move it away to download {weights.name}"
    )


def one_line(text: str) -> str:
    """Shorten a server's reply for a message, without control characters."""
    return "".join(c if c.isprintable() else " " for c in text)[:200].strip()


@contextmanager
def _alone(lock_file: Path, name: str) -> Iterator[None]:
    """Hold a lock that is released when the process ends."""
    from filelock import FileLock, Timeout

    lock = FileLock(lock_file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.info("%s: another process is downloading this file; waiting for it", name)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


class _BrokenOff(Exception):
    """The transfer failed, but another attempt may succeed."""

    def __init__(self, text: str, least: float = 0) -> None:
        super().__init__(text)
        self.least = least  # bytes that an attempt must have received to reset the count of attempts


def _download(
    weights: Weights, part: Path, on_progress: ByteProgress, timeout: float, pause: float, patience: float
) -> None:
    """Download to `part` until it is the expected file, in several attempts."""
    address = weights.address()
    if not address.startswith(("http://", "https://")):
        raise CheckpointError(f"{address}: HF_ENDPOINT must begin with http:// or https://")
    logger.info("%s: downloading %s (%s; licence: %s)", weights.name, address, megabytes(weights.size), weights.licence)
    failures, restarted = 0, False
    while True:
        start = part.stat().st_size if part.exists() else 0
        try:
            if start < weights.size:
                _transfer(address, part, start, weights.size, on_progress, timeout, patience)
        except _BrokenOff as error:
            grown = part.exists() and part.stat().st_size - start > error.least
            failures = 1 if grown else failures + 1
            if failures == ATTEMPTS:
                raise CheckpointError(f"{weights.name}: {error}; run the command again to continue") from error
            logger.info("%s: %s; trying again", weights.name, error)
            time.sleep(pause * 2 ** (failures - 1))
            continue
        problem = mismatch(part, weights)
        if problem is None:
            return
        part.unlink()
        # A part left by an earlier run may belong to another file; a complete download will not improve.
        if restarted or not start:
            raise CheckpointError(f"{weights.name}: {address} is not the expected file: {problem}; removed")
        restarted = True
        logger.info("%s: the partial file belongs to another checkpoint; starting over", weights.name)


def _transfer(
    address: str, part: Path, start: int, size: int, on_progress: ByteProgress, timeout: float, patience: float
) -> None:
    """Append the server's data from byte `start` on to `part`, at most `size` bytes in all."""
    with _answer(address, start, timeout) as response:
        if response.headers.get_content_type() == "text/html":
            raise CheckpointError(f"{address} answered with a web page instead of the file")
        if response.status != 206:  # the server only sends whole files
            start = 0
        length = response.length
        if length is not None and start + length != size:
            raise CheckpointError(f"{address} is not the expected file: expected {size} bytes, found {start + length}")
        since, before = time.monotonic(), start
        with part.open("ab" if start else "wb") as file:
            while piece := _read(response, address, start):
                file.write(piece[: size - start])
                start += len(piece)
                if start > size:
                    raise CheckpointError(
                        f"{address} is not the expected file: it sent more than {size} bytes; stopped"
                    )
                on_progress(start)
                if time.monotonic() - since > patience:
                    least = LEAST_RATE * patience
                    if start - before < least:
                        raise _BrokenOff(f"{address} sends less than {LEAST_RATE // 1000} kB a second", least)
                    since, before = time.monotonic(), start
    if start < size:
        raise _BrokenOff(f"the transfer from {address} broke off at {start} of {size} bytes")


def _answer(address: str, start: int, timeout: float) -> http.client.HTTPResponse:
    try:
        request = urllib.request.Request(address, headers={"User-Agent": "video-depth-anything"})
        if start:
            request.add_header("Range", f"bytes={start}-")
        # Not `urlopen`, which caches the proxies of its first call.
        response: http.client.HTTPResponse = urllib.request.build_opener().open(request, timeout=timeout)
        return response
    except urllib.error.HTTPError as error:
        if error.code in (408, 429) or error.code >= 500:
            raise _BrokenOff(f"{address} answered HTTP {error.code}") from error
        raise CheckpointError(f"{address} answered HTTP {error.code} {one_line(str(error.reason))}") from error
    except (ValueError, http.client.InvalidURL) as error:
        raise CheckpointError(f"{address} is not an address ({one_line(str(error))}); check HF_ENDPOINT") from error
    except (OSError, http.client.HTTPException) as error:
        reason = one_line(str(getattr(error, "reason", None) or error))
        raise _BrokenOff(f"no answer from {address} ({reason})") from error


def _read(response: http.client.HTTPResponse, address: str, done: int) -> bytes:
    try:
        return response.read1(_PIECE)
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenOff(f"the transfer from {address} broke off at {done} bytes ({one_line(str(error))})") from error


def megabytes(size: int) -> str:
    """Format a size in bytes for people."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
