"""What stands in the folder while a run goes on and after it ended, well, badly or not at all."""

from __future__ import annotations

import errno
import json
import shutil
import signal
import subprocess
import sys
import textwrap
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
import pytest
from conftest import MakeVideo
from PIL import Image

from video_depth_anything.errors import InputError, OutputError
from video_depth_anything.outputs.base import OutputWriter
from video_depth_anything.outputs.options import CameraOptions, OutputOptions
from video_depth_anything.outputs.plan import OutputPlan
from video_depth_anything.outputs.record import RunRecord, source_of
from video_depth_anything.outputs.staging import remove_abandoned
from video_depth_anything.video.frame import Frame
from video_depth_anything.video.inputs import expand_inputs
from video_depth_anything.video.options import FrameRange
from video_depth_anything.video.source import Selection, VideoSource, open_video

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
    assert outputs.written() == [str(out / "clip_depths.npz"), f"{out / 'clip_depths_exr'}/ (1 file)"]


def numbers(folder: Path) -> list[float]:
    """The depth in the files of a folder, by their order."""
    files = [OpenEXR.File(str(path), separate_channels=True) for path in sorted(folder.glob("*.exr"))]
    return [float(file.channels()["Z"].pixels[0, 0]) for file in files]


def test_a_longer_run_takes_the_place_of_a_shorter_one_and_a_part_stands_beside_it(
    tmp_path: Path, source: VideoSource, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    planned = plan(out, "npz", "exr", "ply", metric=True)
    run(planned, source, 2)
    run(planned, source, 5)
    assert (depths(out), len(list(out.glob("clip_point*")))) == (5, 5)
    caplog.clear()
    # The first frames of the video have the numbers that they had, so they join the others.
    written = run(planned, source, 2)
    assert "clip in" in caplog.text
    clouds = f"{out / 'clip_point*.ply'} (2 files)"
    assert written == [f"{out / 'clip_depths_exr'}/ (2 files)", str(out / "clip_part_depths.npz"), clouds]
    assert (depths(out), depths(out, "clip_part")) == (5, 2)
    assert numbers(out / "clip_depths_exr") == [0, 1, 2, 3, 4]
    assert len(list(out.glob("clip_point*"))) == 5
    # Counted from another frame on, they do not fit in.
    run(replace(planned, start=1 / 24), source, 2)
    assert numbers(out / "clip_depths_exr") == [0, 1, 2, 3, 4]
    assert numbers(out / "clip_part_2_depths_exr") == [0, 1]
    run(replace(planned, options=replace(planned.options, overwrite=True)), source, 2)
    assert depths(out) == 2


def plates(folder: Path, prefix: str, numbers: range, digits: int = 4, size: int = 8) -> None:
    folder.mkdir(exist_ok=True)
    for number in numbers:
        image = np.full((size, size, 3), number % 256, np.uint8)
        Image.fromarray(image).save(folder / f"{prefix}{number:0{digits}d}.png")


def run_images(out: Path, *patterns: str, value: float = 0.0, **options: Any) -> list[str]:
    """Each frame has its number, and `value`, as its depth."""
    written = []
    for one in expand_inputs(patterns):
        with closing(one.open(Selection())) as source:
            planned = OutputPlan(replace(OutputOptions(out, ("exr",)), **options), CameraOptions(), False)
            with planned.open(source) as outputs:
                for frame in source.timed():
                    assert frame.number is not None
                    frame.depth = np.full(source.size, frame.number + value, np.float32)
                    outputs.write(frame)
                outputs.close()
            written += outputs.written()
    return written


def test_three_frames_of_a_sequence_are_done_again(tmp_path: Path) -> None:
    out = tmp_path / "d1"
    plates(tmp_path / "shot", "plate.", range(1001, 1012))
    save = ("exr", "png16", "npz")
    whole = run_images(out, str(tmp_path / "shot" / "plate.%04d.png"), save=save)
    exr = next(Path(line.partition("/ (")[0]) for line in whole if "_exr" in line)
    assert everything(exr) == {f"plate.{number}.exr" for number in range(1001, 1012)}
    name = exr.name.removesuffix("_depths_exr")
    before = {path.name: path.read_bytes() for path in exr.iterdir()}
    run_images(out, str(tmp_path / "shot" / "plate.100[7-9].png"), value=0.5, save=save)
    expected = [number + (0.5 if number in (1007, 1008, 1009) else 0.0) for number in range(1001, 1012)]
    assert numbers(exr) == expected
    assert sum(before[path.name] == path.read_bytes() for path in exr.iterdir()) == 8
    assert (depths(out, name), depths(out, f"{name}_part")) == (11, 3)
    folder = out / f"{name}_depths_png16"
    mapping = json.loads((folder / "mapping.json").read_text())["files"]
    assert list(mapping) == [f"plate.{number}.png" for number in range(1001, 1012)]
    # Of the range of the whole, though the part has a narrower one.
    assert len({(one["scale"], one["offset"]) for one in mapping.values()}) == 1
    found = [np.array(Image.open(folder / file))[0, 0] * one["scale"] + one["offset"] for file, one in mapping.items()]
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_sequences_keep_their_numbers_and_digits(tmp_path: Path) -> None:
    plates(tmp_path / "a", "", range(7, 9), digits=6)
    plates(tmp_path / "b", "x_", range(9, 12), digits=1)
    run_images(tmp_path / "out", str(tmp_path / "a"), str(tmp_path / "b"))
    names = {path.name for path in (tmp_path / "out").glob("*/*")}
    assert names == {"000007.exr", "000008.exr", "x_9.exr", "x_10.exr", "x_11.exr"}


def test_frames_that_a_sequence_lacks_are_refused_before_the_work(tmp_path: Path) -> None:
    plates(tmp_path / "a", "bg.", range(1001, 1004))
    (one,) = expand_inputs([str(tmp_path / "a")])
    with pytest.raises(InputError, match="has images 1001 to 1003, none of the frames 5-9"):
        one.open(Selection(frames=FrameRange(5, 9)))


def test_two_sequences_in_one_folder(tmp_path: Path) -> None:
    for prefix in ("bg.", "fg."):
        plates(tmp_path / "two", prefix, range(1001, 1004))
        run_images(tmp_path / "out", str(tmp_path / "two" / f"{prefix}%04d.png"))
    found = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").glob("*/*")}
    assert found == {f"{name}_depths_exr/{name}.{number}.exr" for name in ("bg", "fg") for number in range(1001, 1004)}


def test_another_source_of_the_same_name(
    make_video: MakeVideo, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    (tmp_path / "b").mkdir()
    first = open_video(make_video("clip.mp4", height=SIZE[0], width=SIZE[1]))
    second = open_video(shutil.copy(make_video("clip.mp4", height=SIZE[0], width=SIZE[1]), tmp_path / "b"))
    run(plan(out), first, 3)
    run(plan(out), second, 4)
    assert (depths(out), depths(out, "clip_2")) == (3, 4)
    assert f"{out} holds clip from another source; the outputs of {tmp_path / 'b' / 'clip.mp4'} are named clip_2" in (
        caplog.text
    )
    run(plan(out), first, 5)
    run(plan(out), second, 6)
    assert (depths(out), depths(out, "clip_2")) == (5, 6)
    run(plan(out, overwrite=True), second, 2)
    assert (depths(out), numbers(out / "clip_depths_exr"), depths(out, "clip_2")) == (2, [0, 1], 6)
    # A name is free again when its outputs are gone.
    for path in [*out.glob("clip_depths_exr/*"), *out.glob("clip_depths*")]:
        path.unlink() if path.is_file() else path.rmdir()
    run(plan(out), first, 1)
    assert depths(out) == 1


def test_outputs_keep_their_names_in_any_order_of_the_inputs(make_video: MakeVideo, tmp_path: Path) -> None:
    planned, clips = plan(tmp_path / "out"), list[Path]()
    for count, folder in enumerate(("a", "b", "c"), start=1):
        (tmp_path / folder).mkdir()
        clip = make_video("clip.mp4", height=SIZE[0], width=SIZE[1], count=count)
        clips.append(Path(shutil.copy(clip, tmp_path / folder)))
    for order in (clips[:2], clips[::-1]):
        for one in map(planned.named, expand_inputs(map(str, order))):
            with closing(one.open(Selection())) as source:
                run(planned, source, clips.index(Path(one.location)) + 1)
    assert [depths(tmp_path / "out", name) for name in ("clip", "clip_2", "clip_3")] == [1, 2, 3]
    assert len(everything(tmp_path / "out")) == 9


def test_hidden_files_as_inputs_and_beside_outputs(make_video: MakeVideo, tmp_path: Path) -> None:
    out = tmp_path / "out"
    clip = shutil.copy(make_video(height=SIZE[0], width=SIZE[1]), tmp_path / ".mp4")
    (one,) = expand_inputs([str(clip)])
    with closing(one.open(Selection())) as source:
        run(plan(out), source, 3)
    assert depths(out, ".mp4") == 3
    (out / ".mp4_depths_exr" / ".DS_Store").touch()
    assert plan(out).is_finished(one)
    (out / ".mp4_depths_exr" / "frame_00001.exr").unlink()
    assert not plan(out).is_finished(one)


def test_frames_of_a_changed_input_join_only_if_asked(
    make_video: MakeVideo, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "out" / "clip_depths_exr"
    for count in (6, 3):
        with closing(open_video(make_video("clip.mp4", height=SIZE[0], width=SIZE[1], count=count))) as source:
            run(plan(tmp_path / "out"), source, count)
    assert (numbers(folder), numbers(tmp_path / "out" / "clip_part_depths_exr")) == ([*range(6)], [*range(3)])
    assert "earlier version" not in caplog.text
    run(replace(plan(tmp_path / "out"), settings={"frames": "0-1"}), source, 2)
    assert len(numbers(folder)) == 6
    assert f"{folder}: its other frames come from an earlier version of {tmp_path / 'clip.mp4'}" in caplog.text


def test_what_tells_addresses_apart() -> None:
    one, other = (source_of(f"http://me:pass@host/video.mp4?id={number}") for number in (1, 2))
    assert one != other
    assert one == source_of("http://me:other@host/video.mp4?id=1")
    assert one.startswith("http://host/video.mp4 (")
    assert "pass" not in one and "id" not in one.removeprefix("http://host/video.mp4")


def test_the_range_of_the_whole_or_the_one_asked_for(tmp_path: Path, source: VideoSource) -> None:
    out = tmp_path / "out"
    planned = OutputPlan(OutputOptions(out, ("npz",), depth="normalized"), CameraOptions(), False)
    source.expected = 11
    run(planned, source, 11)
    source.expected = 3
    run(planned, source, 3)
    np.testing.assert_allclose(np.load(out / "clip_part_depths.npz")["depths"][:, 0, 0], [0, 0.1, 0.2], atol=1e-6)
    given = replace(planned, options=replace(planned.options, folder=tmp_path / "given", depth_range=(-1.0, 1.5)))
    run(given, source, 3)
    with np.load(tmp_path / "given" / "clip_depths.npz") as archive:
        np.testing.assert_allclose(archive["depths"][:, 0, 0], [0.4, 0.8, 1.0], atol=1e-6)
        assert (archive["lowest"], archive["highest"]) == (-1.0, 1.5)
    # Not of a run with other weights, whose depth has another scale.
    other = replace(planned, settings={"encoder": "vitl"})
    run(other, source, 3)
    np.testing.assert_allclose(np.load(out / "clip_part_depths.npz")["depths"][:, 0, 0], [0, 0.5, 1], atol=1e-6)


def test_file_systems_without_locks(
    tmp_path: Path, source: VideoSource, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refused)
    run(plan(tmp_path / "out"), source, 2)
    assert everything(tmp_path / "out") == DONE
    assert "does not support file locks" in caplog.text
    run(plan(tmp_path / "out"), source, 3)
    assert depths(tmp_path / "out") == 3


def test_an_output_folder_that_is_removed_is_noticed_at_the_next_frame(tmp_path: Path, source: VideoSource) -> None:
    out = tmp_path / "out"
    outputs = plan(out, "vis").open(source)
    outputs.write(frame(0))
    shutil.rmtree(out)
    with pytest.raises(OutputError, match=f"the output folder {out} was removed"), outputs:
        outputs.write(frame(1))


def test_an_interrupted_run_never_replaces_a_whole_result(
    tmp_path: Path, source: VideoSource, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    assert run(plan(out), source, 0, interrupted=True) == []
    assert everything(out) == set()
    run(plan(out), source, 2, interrupted=True)
    assert (depths(out), everything(out)) == (2, DONE)
    run(plan(out), source, 3, interrupted=True)
    assert (depths(out), "stays" in caplog.text) == (3, False)
    # A part does not take the place of what covers more either.
    run(plan(out), source, 1)
    assert (depths(out), depths(out, "clip_part")) == (3, 1)
    assert "clip in" in caplog.text and "covers more and is kept" in caplog.text
    for path in out.glob("clip_part*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (out / ".clip_part_run.json").unlink()
    run(plan(out), source, 5)
    whole = RunRecord.read(out, "clip")
    written = run(plan(out), source, 3, interrupted=True)
    assert written[0] == str(out / "clip_interrupted_depths.npz")
    assert (depths(out), depths(out, "clip_interrupted")) == (5, 3)
    assert len(everything(out / "clip_interrupted_depths_exr")) == 3
    assert "is complete and is kept; this run's outputs are named clip_interrupted" in caplog.text
    assert RunRecord.read(out, "clip") == whole
    run(plan(out), source, 1, interrupted=True)
    assert (depths(out), depths(out, "clip_interrupted")) == (5, 1)
    run(plan(out), source, 0, interrupted=True)
    assert depths(out) == 5
    run(plan(out), source, 6)
    assert depths(out) == 6


def test_what_a_failed_run_keeps(tmp_path: Path, source: VideoSource) -> None:
    """Files that are whole by themselves; every writer is told, though one of them fails at that too."""

    class Stubborn(OutputWriter):
        aborted = False

        def write(self, frame: Frame) -> None:
            if frame.time > 0.1:
                raise OSError(28, "No space left on device")

        def abort(self) -> None:
            self.aborted = True
            raise RuntimeError("stubborn")

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
    run(planned, source, 5)
    assert numbers(out / "clip_depths_exr") == [0, 1, 2, 3, 4]


def test_writers_that_were_opened_before_one_failed(
    tmp_path: Path, source: VideoSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    from video_depth_anything.outputs import frame_files

    def fail(*_: Any) -> None:
        raise OutputError("no writer")

    monkeypatch.setattr(frame_files, "ExrFrames", fail)
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
    with pytest.raises(OutputError, match=rf"{name} exists, and no earlier run wrote it; .* pass --overwrite"):
        plan(out).open(source)
    assert (inside.read_text(), everything(out)) == ("mine", {name})
    run(plan(out, overwrite=True), source, 2)
    assert everything(out) == DONE
    # A folder keeps what is no file of a frame.
    kept = {"notes.txt", "preview_1.exr"}
    for file in kept:
        (out / "clip_depths_exr" / file).write_text("mine")
    run(replace(plan(out), start=1 / 24), source, 3)
    assert everything(out / "clip_part_depths_exr") == {f"frame_0000{i}.exr" for i in range(3)}
    run(plan(out, overwrite=True), open_video(str(source.location), name="clip"), 1)
    assert everything(out / "clip_depths_exr") >= kept


def test_a_file_that_appears_meanwhile_stays(
    tmp_path: Path, source: VideoSource, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    with plan(out, "npz").open(source) as outputs:
        outputs.write(frame(0))
        (out / "clip_depths.npz").write_text("mine")
        outputs.close()
    assert (out / "clip_depths.npz").read_text() == "mine"
    assert outputs.files() == [out / "clip_2_depths.npz"]
    assert "is not from an earlier run; this run's outputs are named clip_2" in caplog.text


def test_links_are_not_followed(tmp_path: Path, source: VideoSource) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    out.mkdir()
    elsewhere.mkdir()
    (elsewhere / "a").write_text("mine")
    (out / ".clip.partial-1-abc").symlink_to(elsewhere)
    (out / "clip_depths_exr").symlink_to(elsewhere)
    with pytest.raises(OutputError, match="no earlier run wrote it"):
        plan(out).open(source)
    run(plan(out, overwrite=True), source, 1)
    assert everything(out) == DONE
    assert (elsewhere / "a").read_text() == "mine"
    assert everything(elsewhere) == {"a"}
    (out / ".clip.run-lock").symlink_to(elsewhere / "lock")
    with pytest.raises(OutputError, match="cannot write to"):
        plan(out).open(source)
    assert everything(elsewhere) == {"a"}
