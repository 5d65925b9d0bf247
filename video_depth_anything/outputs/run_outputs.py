"""The outputs of one run, which are written, published and removed together."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from ..errors import OutputError
from ..video.frame import Frame
from .base import Finished, OutputWriter, ReaderGone, RunInfo, ValueRange, abort_all
from .record import Span
from .staging import Staging

logger = logging.getLogger(__name__)


class RunOutputs:
    """All outputs of one input; a context manager that aborts unless `close` or `abort` was called.

    They are made in `staging` (None: nothing is written to disk) and published to the folder of `run` at the end.
    `own_numbers` is whether frame files have the source's frame numbers.
    """

    def __init__(
        self,
        run: RunInfo,
        staging: Staging | None = None,
        writers: Sequence[OutputWriter] = (),
        own_numbers: bool = True,
    ) -> None:
        self._run = run
        self._staging = staging
        self._writers = list(writers)
        self._added: list[OutputWriter] = []
        self._own_numbers = own_numbers
        self._seen = ValueRange()
        self._span: Span | None = None
        self._open = True
        self._published: dict[Path, int] = {}

    def __enter__(self) -> RunOutputs:
        return self

    def __exit__(self, *error: object) -> None:
        self.abort()

    @property
    def source(self) -> str:
        """The input's file or address, for display."""
        return self._run.source

    def add(self, writer: OutputWriter) -> None:
        """Add an output that is not a file, such as standard output or a window."""
        self._added.append(writer)

    def write(self, frame: Frame) -> None:
        """Give a frame to all outputs.

        Raises:
            Finished: if one of them ends the run, after all have received the frame.
            OutputError: if one cannot be written, for example because the disk is full.
        """
        if self._staging is not None and not self._staging.path.exists():
            raise OutputError(f"the output folder {self._run.folder} was removed or can no longer be reached")
        finished = False
        try:
            for writer in (*self._writers, *self._added):
                try:
                    writer.write(frame)
                except ReaderGone as error:
                    self._added.remove(writer)
                    writer.abort()
                    finished |= not (self._writers or self._added)
                    if not finished:
                        logger.warning("%s: the other outputs continue", error)
                except Finished:
                    finished = True
        except (OSError, OutputError) as error:
            raise self._named(error) from error
        self._seen.update(frame.depth)
        if frame.number is not None and frame.source_time is None:
            begin, step = float(frame.number), 1.0
        else:
            begin = self._run.start + frame.time if frame.source_time is None else frame.source_time
            step = frame.duration
        start = begin if self._span is None else self._span.start
        self._span = Span(start, begin + step, step, self._own_numbers or frame.number is not None)
        if finished:
            raise Finished

    def close(self, interrupted: bool = False) -> None:
        """Complete all outputs and give them their final names; on failure, abort.

        Args:
            interrupted: whether the run was cut short. Then nothing is kept if no frame was written, and the outputs
                never replace a complete result.

        Raises:
            OutputError: if an output cannot be completed.
        """
        try:
            if self._span is not None:
                for writer in (*self._writers, *self._added):
                    writer.close()
                self._publish(finished=not interrupted)
                self._end()
        except (OSError, OutputError) as error:
            raise self._named(error) from error
        finally:
            self.abort()

    def abort(self) -> None:
        """Remove incomplete outputs; complete frame files are kept, as in an interrupted run."""
        if not self._open:
            return
        self._open = False
        try:
            try:
                abort_all([*self._writers, *self._added])
            except Exception as error:
                logger.warning("%s: an unfinished output could not be removed: %s", self._run.folder, error)
            self._publish(finished=False)
            if paths := self.files():
                more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
                logger.warning("the run failed; the frames done so far are kept in %s%s", paths[0], more)
        except OSError as error:
            logger.warning("%s: the finished part could not be kept: %s", self._run.folder, error)
        finally:
            self._end()

    def _publish(self, finished: bool) -> None:
        if self._staging is not None and self._span is not None:
            self._published = self._staging.publish(finished, self._span, self._run.ends or self._seen.ends)

    def _end(self) -> None:
        self._open = False
        if self._staging is not None:
            self._staging.close()

    def written(self) -> list[str]:
        """The outputs, for the closing line: paths, folders as `PATH/ (N files)`, point clouds as a pattern."""
        clouds = [path for path in self.files() if path.suffix == ".ply"]
        lines = [
            f"{path}/ ({_files(self._published[path])})" if path.is_dir() else str(path)
            for path in self.files()
            if path not in clouds
        ]
        if clouds:
            stem = clouds[0].stem.rstrip("0123456789")
            lines.append(f"{clouds[0].with_name(f'{stem}*.ply')} ({_files(len(clouds))})")
        return lines + [writer.shown_as for writer in self._added if writer.shown_as]

    def files(self) -> list[Path]:
        """Paths of the published files and folders."""
        return sorted(self._published)

    def _named(self, error: OSError | OutputError) -> OutputError:
        """Turn a system error into one that names the output folder instead of the hidden one."""
        folder = self._run.folder
        if isinstance(error, OSError):
            reason = error.strerror or str(error)
            return OutputError(f"cannot write to {folder}: {reason}; choose another --output_dir")
        staged = folder if self._staging is None else self._staging.path
        return OutputError(str(error).replace(f"{staged}", f"{folder}"))


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"
