"""Folder of models that OpenVINO has converted, so that a network is converted once and not at each start."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import openvino as ov

logger = logging.getLogger(__name__)

# Each input size of vits takes about 100 MB.
MAX_BYTES = 4 << 30


def default_cache() -> Path:
    """The user's folder for such things: $VIDEO_DEPTH_CACHE, or one below $XDG_CACHE_HOME or ~/.cache."""
    if own := os.environ.get("VIDEO_DEPTH_CACHE"):
        return Path(own)
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "video_depth_anything" / "openvino"


class ModelCache:
    """Converted models by key, each in a folder that appears whole; the longest unused ones go when there are too many.

    Args:
        core: whose compiled models are cached in the same folder.
        folder: None keeps nothing.
    """

    def __init__(self, core: ov.Core, folder: Path | None, max_bytes: int = MAX_BYTES) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._said = False
        if folder is None:
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            logger.warning("converted models cannot be kept in %s (%s); each start converts again", folder, error)
            self._folder = None

    def find(self, key: str, convert: Callable[[], ov.Model]) -> ov.Model | Path:
        """What `core.compile_model` takes: the file of that key, made by `convert` if it is not there yet."""
        if self._folder is None:
            return convert()
        home = self._folder / hashlib.sha256(f"{key} {ov.get_version()}".encode()).hexdigest()[:32]
        path = home / "model.xml"
        if path.is_file():
            os.utime(home)
            return path
        if not self._said:
            logger.info("converting the network for OpenVINO, once for this input size")
            self._said = True
        model = convert()
        try:
            self._store(model, home)
        except OSError as error:
            logger.warning("a converted model cannot be kept in %s (%s)", self._folder, error)
            return model
        return path

    def _store(self, model: ov.Model, home: Path) -> None:
        partial = Path(tempfile.mkdtemp(prefix="partial_", dir=home.parent))
        try:
            ov.save_model(model, partial / "model.xml", compress_to_fp16=False)
            partial.rename(home)
        except OSError:
            shutil.rmtree(partial, ignore_errors=True)
            # Another process may have been quicker.
            if not (home / "model.xml").is_file():
                raise
        except RuntimeError as error:  # how OpenVINO reports a full disk
            shutil.rmtree(partial, ignore_errors=True)
            raise OSError(str(error)) from error
        self._prune(home)

    def _prune(self, newest: Path) -> None:
        homes = sorted((path for path in newest.parent.iterdir() if path.is_dir()), key=lambda p: p.stat().st_mtime)
        sizes = {home: sum(file.stat().st_size for file in home.iterdir()) for home in homes}
        total = sum(sizes.values())
        for home in homes:
            if total <= self._max_bytes or home == newest:
                break
            shutil.rmtree(home, ignore_errors=True)
            total -= sizes[home]
