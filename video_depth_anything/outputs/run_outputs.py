"""The outputs of one run, as one: written together, and published or removed together."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import OutputError
from ..video.frame import Frame
from .base import Finished, OutputWriter, ReaderGone
from .spool import abort_all
from .staging import Published, Staging

logger = logging.getLogger(__name__)


class RunOutputs:
    """All outputs of one input; a context manager that tidies up where neither `close` nor `abort` was called.

    Args:
        name: what the outputs are called.
        folder: where they go.
        staging: where they are made; None: nothing is written to disk.
        writers: of what is published.
    """

    def __init__(self, name: str, folder: Path, staging: Staging | None, writers: Sequence[OutputWriter]) -> None:
        self._name = name
        self._folder = folder
        self._staging = staging
        self._writers = list(writers)
        self._added: list[OutputWriter] = []
        self._frames = 0
        self._open = True
        self._published = Published(name)
        self._written: list[str] = []

    def __enter__(self) -> RunOutputs:
        return self

    def __exit__(self, *error: object) -> None:
        self.abort()

    def add(self, writer: OutputWriter) -> None:
        """Add an output that is shown and not published, such as standard output or a window."""
        self._added.append(writer)

    def write(self, frame: Frame) -> None:
        """Give a frame to all outputs.

        Raises:
            Finished: if one of them asks for the end, after all have got the frame.
            OutputError: if one cannot be written, for example because the disk is full.
        """
        finished = False
        with self._named_errors():
            for writer in (*self._writers, *self._added):
                try:
                    writer.write(frame)
                except ReaderGone as error:
                    finished |= self._drop(writer, error)
                except Finished:
                    finished = True
        self._frames += 1
        if finished:
            raise Finished

    def _drop(self, writer: OutputWriter, reason: ReaderGone) -> bool:
        """Go on without an output that nobody reads; whether it was the last one."""
        self._added.remove(writer)
        writer.abort()
        if not self._writers and not self._added:
            return True
        logger.warning("%s: the other outputs go on", reason)
        return False

    def close(self, interrupted: bool = False) -> None:
        """Finish all outputs and give them their final names; if that fails, as `abort`.

        Args:
            interrupted: whether the run was cut short. Then nothing is written if no frame was, and what was written
                never takes the place of a whole result.

        Raises:
            OutputError: if an output cannot be finished.
        """
        if self._frames == 0:
            self.abort()
            return
        try:
            with self._named_errors():
                for writer in (*self._writers, *self._added):
                    writer.close()
                self._written = [text for writer in self._writers for text in writer.written()]
                self._publish(finished=not interrupted)
        except BaseException:
            self.abort()
            raise
        self._end()

    def abort(self) -> None:
        """Remove what is not whole; frames that are whole files by themselves are kept, as of an interrupted run."""
        if not self._open:
            return
        self._open = False
        try:
            abort_all([*self._writers, *self._added])
        except Exception as error:
            logger.warning("%s: an output could not be removed as it should: %s", self._folder, error)
        finally:
            try:
                if self._frames:
                    self._publish(finished=False)
                    self._say_kept()
            except OSError as error:
                logger.warning("%s: what was done could not be kept: %s", self._folder, error)
            finally:
                self._end()

    def _publish(self, finished: bool) -> None:
        if self._staging is not None:
            self._published = self._staging.publish(finished)

    def _say_kept(self) -> None:
        paths = self._published.paths
        if paths:
            more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
            logger.warning("the run failed; kept, whole as far as it goes: %s%s", paths[0], more)

    def _end(self) -> None:
        self._open = False
        if self._staging is not None:
            self._staging.close()

    def written(self) -> list[str]:
        """What was written, for the closing line: paths, folders as `PATH/ (N files)`."""
        staged = "" if self._staging is None else str(self._staging.path / self._name)
        final = str(self._folder / self._published.name)
        files = [text.replace(staged, final, 1) for text in self._written]
        return files + [text for writer in self._added for text in writer.written()]

    def files(self) -> list[Path]:
        """Paths of the files and folders that were published."""
        return list(self._published.paths)

    @contextlib.contextmanager
    def _named_errors(self) -> Iterator[None]:
        """Errors name the folder that the user knows."""
        staged = "" if self._staging is None else f"{self._staging.path}"
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            raise OutputError(f"cannot write to {self._folder}: {reason}; choose another --output_dir") from error
        except OutputError as error:
            if staged and staged in str(error):
                raise OutputError(str(error).replace(staged, str(self._folder))) from error
            raise
