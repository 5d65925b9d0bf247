"""What stands in the folder while a run goes on and after it ended, well, badly or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
import pytest
from conftest import MakeVideo

from video_depth_anything.errors import OutputError
from video_depth_anything.outputs.options import CameraOptions, OutputOptions
from video_depth_anything.outputs.ownership import read_record, write_record
from video_depth_anything.outputs.plan import OutputPlan
from video_depth_anything.outputs.staging import remove_abandoned
from video_depth_anything.video.frame import Frame
from video_depth_anything.video.source import VideoSource, open_video

ROOT = Path(__file__).resolve().parents[1]
SIZE = (12, 18)


@pytest.fixture
def source(make_video: MakeVideo) -> VideoSource:
    return open_video(make_video("clip.mp4", height=SIZE[0], width=SIZE[1]))


def frame(value: float) -> Frame:
    return Frame(np.full((*SIZE, 3), 90, np.uint8), value / 24, 1 / 24, depth=np.full(SIZE, value, np.float32))


def plan(folder: Path, *save: str, overwrite: bool = False, metric: bool = False) -> OutputPlan:
    return OutputPlan(OutputOptions(folder, save or ("npz", "exr"), overwrite=overwrite), CameraOptions(), metric)


def run(planned: OutputPlan, source: VideoSource, count: int, interrupted: bool = False) -> list[str]:
    with planned.open(source) as outputs:
        for index in range(count):
            outputs.write(frame(index))
        outputs.close(interrupted)
    return outputs.written()


def depths(folder: Path, name: str = "clip") -> int:
    return len(np.load(folder / f"{name}_depths.npz")["depths"])


def everything(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


DONE = {"clip_depths.npz", "clip_depths_exr", ".clip_run.json"}


def test_nothing_has_its_name_before_the_end(tmp_path: Path, source: VideoSource) -> None:
    out = tmp_path / "out"
    with plan(out).open(source) as outputs:
        outputs.write(frame(0))
        hidden = [path for path in out.iterdir() if path.is_dir()]
        assert all(name.startswith(".clip.") for name in everything(out))
        assert [path.stat().st_mode & 0o777 for path in hidden] == [0o700]
        outputs.close()
    assert everything(out) == DONE
    assert outputs.files() == [out / "clip_depths.npz", out / "clip_depths_exr"]
    assert outputs.written() == [str(out / "clip_depths.npz"), f"{out / 'clip_depths_exr'}/ (1 files)"]


def test_frames_of_an_earlier_run_are_removed(tmp_path: Path, source: VideoSource) -> None:
    pytest.importorskip("open3d")
    planned = plan(tmp_path / "out", "exr", "ply", metric=True)
    run(planned, source, 5)
    run(planned, source, 2)
    assert everything(tmp_path / "out" / "clip_depths_exr") == {"frame_00000.exr", "frame_00001.exr"}
    clouds = {f"clip_point000{i}.ply" for i in range(2)}
    assert everything(tmp_path / "out") == {"clip_depths_exr", ".clip_run.json", *clouds}


def test_an_interrupted_run_never_replaces_a_whole_result(
    tmp_path: Path, source: VideoSource, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    assert run(plan(out), source, 0, interrupted=True) == []
    assert everything(out) == set()
    run(plan(out), source, 2, interrupted=True)
    assert (depths(out), everything(out)) == (2, DONE)
    run(plan(out), source, 3, interrupted=True)
    assert (depths(out), "whole and stays" in caplog.text) == (3, False)
    run(plan(out), source, 5)
    record = read_record(out, "clip")
    write_record(out, "clip", {**record, "settings": {"a": "b"}})
    written = run(plan(out), source, 3, interrupted=True)
    assert written[0] == str(out / "clip_interrupted_depths.npz")
    assert (depths(out), depths(out, "clip_interrupted")) == (5, 3)
    assert len(everything(out / "clip_interrupted_depths_exr")) == 3
    assert "is whole and stays; this run's outputs are called clip_interrupted" in caplog.text
    assert read_record(out, "clip")["settings"] == {"a": "b"}
    run(plan(out), source, 1, interrupted=True)
    assert (depths(out), depths(out, "clip_interrupted")) == (5, 1)
    run(plan(out), source, 0, interrupted=True)
    assert depths(out) == 5
    run(plan(out), source, 4)
    assert depths(out) == 4
    assert "settings" not in read_record(out, "clip")


def test_what_a_failed_run_keeps(tmp_path: Path, source: VideoSource) -> None:
    """Files that are whole by themselves; every writer is told, though one of them fails at that too."""

    class Stubborn:
        aborted = False

        def write(self, frame: Frame) -> None:
            if frame.time > 0.1:
                raise OSError(28, "No space left on device")

        def close(self) -> None: ...

        def abort(self) -> None:
            self.aborted = True
            raise RuntimeError("stubborn")

        def written(self) -> list[str]:
            return []

    out = tmp_path / "out"
    planned = plan(out, "src", "vis", "npz", "exr", "png16")
    outputs = planned.open(source)
    first, second = Stubborn(), Stubborn()
    outputs.add(first)
    outputs.add(second)
    for index in range(3):
        outputs.write(frame(index))
    with pytest.raises(OutputError, match=rf"cannot write to {out}: No space left on device"), outputs:
        outputs.write(frame(3))
    assert first.aborted
    assert second.aborted
    assert everything(out) == {"clip_depths_exr", ".clip_run.json"}
    for index in range(3):
        file = OpenEXR.File(str(out / "clip_depths_exr" / f"frame_{index:05d}.exr"), separate_channels=True)
        np.testing.assert_array_equal(file.channels()["Z"].pixels, index)
    run(planned, source, 2)
    assert len(everything(out / "clip_depths_exr")) == 2


def test_writers_that_were_opened_before_one_failed(
    tmp_path: Path, source: VideoSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    from video_depth_anything.outputs import arrays

    def fail(*_: Any) -> None:
        raise OutputError("no writer")

    monkeypatch.setattr(arrays, "ExrFrames", fail)
    with pytest.raises(OutputError, match="no writer"):
        plan(tmp_path / "out", "src", "npz", "vis", "exr").open(source)
    assert everything(tmp_path / "out") == set()


def test_two_runs_of_one_name(tmp_path: Path, source: VideoSource) -> None:
    out = tmp_path / "out"
    with plan(out).open(source) as outputs:
        with pytest.raises(OutputError, match=rf"another run is writing clip into {out}"):
            plan(out).open(source)
        outputs.write(frame(0))
        outputs.close()
    run(plan(out), source, 2)
    assert (depths(out), everything(out)) == (2, DONE)


def killed(folder: Path, video: Path) -> None:
    """A process that opens the outputs, writes a frame and is killed."""
    code = f"""
        import sys, time
        sys.path.insert(0, {str(ROOT / "tests")!r})
        from test_output_staging import *
        outputs = plan(Path({str(folder)!r}), "src", "vis", "npz", "exr").open(open_video({str(video)!r}))
        outputs.write(frame(0))
        print("written", flush=True)
        time.sleep(60)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "written\n"
    source = open_video(video)
    with pytest.raises(OutputError, match="another run is writing clip"):
        plan(folder).open(source)
    assert remove_abandoned(folder) == []
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_what_a_killed_run_left_is_removed(make_video: MakeVideo, tmp_path: Path) -> None:
    video, out = make_video("clip.mp4", height=SIZE[0], width=SIZE[1]), tmp_path / "out"
    killed(out, video)
    assert any(".partial-" in name for name in everything(out))
    for name in (".partial_clip_src.mp4", ".finished_a b_vis.mp4", ".copied_x_depths.npz", ".partial_.y_run.json"):
        (out / name).write_text("old")
    os.utime(out / ".partial_.y_run.json", (time.time() - 3600,) * 2)
    stays = {".partial_notes.txt", ".hidden", "mine_src.mp4"}
    for name in stays:
        (out / name).write_text("the user's")
    run(plan(out), open_video(make_video("other.mp4", height=SIZE[0], width=SIZE[1])), 1)
    assert everything(out) == stays | {name.replace("clip", "other") for name in DONE}


@pytest.mark.parametrize("name", ["clip_depths.npz", "clip_depths_exr"])
def test_what_no_run_wrote_is_not_replaced(tmp_path: Path, source: VideoSource, name: str) -> None:
    out = tmp_path / "out"
    path = out / name
    out.mkdir()
    inside = path / "notes.txt" if name.endswith("exr") else path
    inside.parent.mkdir(exist_ok=True)
    inside.write_text("mine")
    with pytest.raises(OutputError, match=rf"{name} is there, and no earlier run wrote it so; .* give --overwrite"):
        plan(out).open(source)
    assert (inside.read_text(), everything(out)) == ("mine", {name})
    run(plan(out, overwrite=True), source, 2)
    assert everything(out) == DONE
    run(plan(out), source, 3)
    # Theirs again, once they changed it.
    inside = out / "clip_depths_exr" / "notes.txt" if name.endswith("exr") else path
    inside.write_text("mine")
    with pytest.raises(OutputError, match="no earlier run wrote it so"):
        plan(out).open(source)
    run(plan(out, "png16"), source, 1)
    assert inside.read_text() == "mine"


def test_results_of_earlier_versions_are_known(tmp_path: Path, source: VideoSource) -> None:
    out = tmp_path / "out"
    run(plan(out), source, 3)
    write_record(out, "clip", {"settings": {}, "files": [str(out / "clip_depths.npz")]})
    run(plan(out), source, 1, interrupted=True)
    assert depths(out) == 3
    write_record(out, "clip", {"settings": {}, "files": [str(out / "clip_depths.npz")]})
    run(plan(out), source, 2)
    assert depths(out) == 2


def test_a_file_that_appears_meanwhile_stays(
    tmp_path: Path, source: VideoSource, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    with plan(out, "npz").open(source) as outputs:
        outputs.write(frame(0))
        (out / "clip_depths.npz").write_text("mine")
        outputs.close()
    assert (out / "clip_depths.npz").read_text() == "mine"
    assert outputs.files() == [out / "clip_new_depths.npz"]
    assert "is not from an earlier run; this run's outputs are called clip_new" in caplog.text


def test_links_are_not_followed(tmp_path: Path, source: VideoSource) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    out.mkdir()
    elsewhere.mkdir()
    (elsewhere / "a").write_text("mine")
    (out / ".clip.partial-1-abc").symlink_to(elsewhere)
    (out / ".partial_clip_depths.npz").symlink_to(elsewhere / "a")
    (out / "clip_depths_exr").symlink_to(elsewhere)
    with pytest.raises(OutputError, match="no earlier run wrote it so"):
        plan(out).open(source)
    run(plan(out, overwrite=True), source, 1)
    assert everything(out) == DONE
    assert (elsewhere / "a").read_text() == "mine"
    assert everything(elsewhere) == {"a"}
    (out / ".clip.run-lock").symlink_to(elsewhere / "lock")
    with pytest.raises(OutputError, match="cannot write to"):
        plan(out).open(source)
    assert everything(elsewhere) == {"a"}
