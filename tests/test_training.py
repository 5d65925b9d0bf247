"""The training loop: gradients reach what they should, loss falls, resuming changes nothing."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from training.batches import Batch
from training.memory import step_peak
from training.network import TrainingNetwork, kind_of
from training.optimisation import rate_factor
from training.processes import ProcessGroup
from training.settings import Settings
from training.start import save_checkpoint
from training.trainer import Trainer, load_state, save_state
from video_depth_anything.checkpoint import from_pretrained, load_checkpoint, load_model
from video_depth_anything.device import Execution
from video_depth_anything.errors import CheckpointError, OutputError
from video_depth_anything.video_depth import VideoDepthAnything

HEIGHT, WIDTH = 28, 42
MakeModel = Callable[..., VideoDepthAnything]
CPU = Execution(torch.device("cpu"), None, 1)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small maps gain nothing from more; and sums are then added in one order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def model_of(weights: dict[str, Tensor], moving: bool = False) -> VideoDepthAnything:
    """vits with copies of these weights; the motion modules are the identity unless `moving`."""
    with torch.device("meta"):
        model = VideoDepthAnything("vits")
    zeros = {n: torch.zeros_like(v) for n, v in weights.items() if ".proj_out." in n and not moving}
    model.load_state_dict({n: v.clone() for n, v in (weights | zeros).items()}, assign=True)
    return model.requires_grad_(True)


@pytest.fixture
def make_model(golden_model: VideoDepthAnything) -> MakeModel:
    return functools.partial(model_of, golden_model.state_dict())


def make_batch(seed: int, clips: int = 2, frames: int = 1) -> Batch:
    rng = torch.Generator().manual_seed(seed)
    images = torch.randn(clips, frames, 3, HEIGHT, WIDTH, generator=rng)
    disparity = torch.rand(clips, frames, HEIGHT, WIDTH, generator=rng)
    return Batch((images,), disparity, disparity > 0.1)


def trainer_of(model: VideoDepthAnything, settings: Settings, execution: Execution = CPU) -> Trainer:
    return Trainer(TrainingNetwork(model, settings.stage), settings, execution, ProcessGroup())


def weights(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize(
    ("stage", "rates", "reached"),
    [
        ("image", {}, {"head"}),
        ("image", {"encoder_lr": 1e-5}, {"head", "encoder"}),
        ("clip", {}, {"head", "motion"}),
        ("clip", {"lr": 0.0}, {"motion"}),
    ],
)
def test_training_changes_what_it_should_and_nothing_else(
    make_model: MakeModel, stage: str, rates: dict[str, Any], reached: set[str]
) -> None:
    settings = Settings(stage=stage, frames=3, warmup=0, **rates)  # type: ignore[arg-type]
    trainer = trainer_of(make_model(moving=True), settings)
    before = weights(trainer.model)
    trainer.train_step(make_batch(0, frames=3))
    gradients = {n for n, p in trainer.model.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    changed = {n for n, value in trainer.model.state_dict().items() if not torch.equal(value, before[n])}
    assert {kind_of(name) for name in gradients} == reached
    assert {kind_of(name) for name in changed} == reached
    unused = ("mask_token", "refinenet4.resConfUnit1")
    trained = {
        n for n, _ in trainer.model.named_parameters() if kind_of(n) in reached and not any(u in n for u in unused)
    }
    assert gradients == trained


def test_the_motion_modules_start_as_the_identity_and_learn(make_model: MakeModel) -> None:
    trainer = trainer_of(make_model(), Settings(stage="clip", frames=4, warmup=0))
    trainer.train_step(make_batch(0, frames=4))
    outs = {n: p for n, p in trainer.model.named_parameters() if ".proj_out." in n}
    assert len(outs) == 8
    assert all(p.abs().max() > 0 for p in outs.values())


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["image", "clip"])
def test_ten_steps_on_one_clip_lower_the_loss(make_model: MakeModel, stage: str) -> None:
    settings = Settings(stage=stage, steps=1000, frames=3, lr=3e-4, motion_lr=3e-4, warmup=0)  # type: ignore[arg-type]
    trainer = trainer_of(make_model(), settings)
    batch = make_batch(0, clips=1, frames=3)
    losses = [trainer.train_step(batch)["total_loss"] for _ in range(11)]
    assert losses[-1] < 0.9 * losses[0]


def test_the_training_path_is_the_models_own(make_model: MakeModel) -> None:
    """Rendering some frames gives what `forward` gives for these frames."""
    model = make_model(moving=True).eval()
    trainer = trainer_of(model, Settings(stage="clip"))
    (images,) = make_batch(3, clips=2, frames=4).inputs
    with torch.no_grad():
        whole = model(images)
        part = trainer.network((images,), [1, 2])
    torch.testing.assert_close(part, whole[:, 1:3], rtol=1e-4, atol=1e-4)
    assert whole.std() > 0.05


def test_some_frames_are_rendered_but_all_take_part(make_model: MakeModel) -> None:
    settings = Settings(stage="clip", frames=4, render=2, warmup=0)
    trainer = trainer_of(make_model(moving=True), settings)
    batch = make_batch(0, clips=1, frames=4)
    slots = trainer._slots(4)
    assert len(slots) == 2 and slots[1] == slots[0] + 1
    (other,) = {0, 1, 2, 3} - set(slots) - {3 if slots[0] == 0 else 0}
    images = batch.inputs[0].clone().requires_grad_()
    trainer.model.pretrained.requires_grad_(True)
    trainer.network((images,), slots).sum().backward()
    assert images.grad is not None
    assert images.grad[0, other].abs().max() > 0


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["image", "clip"])
def test_resuming_equals_not_stopping(make_model: MakeModel, stage: str, tmp_path: Path) -> None:
    settings = Settings(stage=stage, steps=4, frames=2, warmup=2)  # type: ignore[arg-type]
    straight = trainer_of(make_model(), settings)
    broken = trainer_of(make_model(), settings)
    for step in range(4):
        straight.train_step(make_batch(step, frames=2))
    for step in range(2):
        broken.train_step(make_batch(step, frames=2))
    save_state(broken, tmp_path)
    torch.rand(5)  # whatever happens in between
    resumed = trainer_of(make_model(), settings)
    state = load_state(tmp_path, ProcessGroup())
    assert state is not None
    resumed.load(state)
    assert resumed.step == 2
    for step in range(2, 4):
        resumed.train_step(make_batch(step, frames=2))
    for name, value in straight.averaged_state().items():
        assert torch.equal(value, resumed.averaged_state()[name]), name
    for name, value in straight.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name


@pytest.mark.parametrize("stage", ["image", "clip"])
def test_activation_checkpointing_changes_no_gradient(make_model: MakeModel, stage: str) -> None:
    found = []
    for recompute in (False, True):
        network = TrainingNetwork(make_model(moving=True), stage, recompute).train()  # type: ignore[arg-type]
        network(make_batch(4, clips=2, frames=3).inputs, [1, 2]).square().mean().backward()
        found.append({name: p.grad for name, p in network.named_parameters() if p.grad is not None})
    assert {kind_of(name.removeprefix("model.")) for name in found[0]} >= {"encoder", "head"}
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-3, atol=1e-4 * float(gradient.abs().max()))


@pytest.mark.parametrize("stage", ["image", "clip"])
def test_accumulated_gradients_are_those_of_the_whole_batch(make_model: MakeModel, stage: str) -> None:
    """Trimming and means over valid pixels see the whole batch, so clips of different weight would show."""
    settings = Settings(stage=stage, batch_size=3, frames=2, trim=0.2)  # type: ignore[arg-type]
    batch = make_batch(4, clips=3, frames=2)
    batch.valid[0] &= batch.target[0] > 0.9
    found = []
    for accumulate in (1, 3):
        network = TrainingNetwork(make_model(moving=True), settings.stage)
        trainer = Trainer(network, settings, CPU, ProcessGroup(), accumulate)
        losses = {name: float(value.detach()) for name, value in trainer.gradients(batch).items()}
        found.append((losses, torch.cat([p.grad.flatten() for p in trainer.trained.values() if p.grad is not None])))
    (plain, gradient), (parts, other) = found
    assert parts == pytest.approx(plain, rel=1e-4)
    # Absolute values have kinks, and a median is one pixel: rounding may turn some of them.
    assert (other - gradient).norm() < 0.03 * gradient.norm()


@pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor")
def test_memory_of_a_step_is_counted_and_saved() -> None:
    """At this size activations are most of it, of which half a batch at a time needs half."""
    size, settings = (252, 448), Settings(stage="clip", batch_size=2, frames=2)
    plain, recomputed, accumulated = (
        step_peak("vits", size, settings, accumulate, recompute)
        for accumulate, recompute in ((1, False), (1, True), (2, False))
    )
    weights = 4 * sum(p.numel() for p in VideoDepthAnything("vits").parameters())
    assert weights < recomputed < 0.6 * plain
    assert weights + (plain - weights) / 4 < accumulated < 0.8 * plain


def test_half_precision_scales_its_gradients(make_model: MakeModel) -> None:
    for dtype in (torch.float16, torch.bfloat16):
        trainer = trainer_of(make_model(), Settings(), Execution(torch.device("cpu"), dtype, 1))
        assert trainer.scaler.is_enabled() == (dtype == torch.float16)


def test_learning_rate() -> None:
    assert [rate_factor(step, 100, 4) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert rate_factor(4, 100, 4) == 1
    assert rate_factor(52, 100, 4) == pytest.approx(0.505)
    assert rate_factor(100, 100, 4) == rate_factor(500, 100, 4) == pytest.approx(0.01)


def test_what_training_starts_from(make_model: MakeModel, tmp_path: Path) -> None:
    full = make_model().state_dict()
    for name, state in (("full", full), ("half", {n: v.half() for n, v in full.items()})):
        torch.save(state, tmp_path / f"{name}.pth")
        model, _ = load_checkpoint("vits", None, tmp_path / f"{name}.pth", "cpu")
        key = "pretrained.blocks.3.mlp.fc1.weight"
        torch.testing.assert_close(model.state_dict()[key], full[key], rtol=1e-3, atol=1e-3)
        assert {p.dtype for p in model.parameters()} == {torch.float32} and not model.metric
    del full["head.projects.0.weight"]
    torch.save(full, tmp_path / "wrong.pth")
    with pytest.raises(CheckpointError, match="1 missing"):
        load_checkpoint("vits", None, tmp_path / "wrong.pth", "cpu")


def test_the_kind_of_the_weights_is_written_and_checked(make_model: MakeModel, tmp_path: Path) -> None:
    state = make_model().state_dict()
    public, relative, metric = (tmp_path / name for name in ("metric_vits.pth", "a.pth", "b.pth"))
    torch.save(dict(state), public)
    save_checkpoint(state, relative, half=True)
    save_checkpoint(state, metric, half=True, metric=True)
    for path, asked, kind in (
        (public, None, True),
        (public, False, False),
        (relative, None, False),
        (metric, None, True),
        (metric, True, True),
    ):
        assert load_checkpoint("vits", asked, path, "cpu")[0].metric == kind
    for path, asked, word in ((relative, True, "relative"), (metric, False, "metric")):
        with pytest.raises(CheckpointError, match=f"holds {word} weights"):
            load_checkpoint("vits", asked, path, "cpu")
    with pytest.raises(CheckpointError, match="holds metric weights; add --metric"):
        load_model("vits", checkpoint=metric, device="cpu")
    assert load_model("vits", True, metric, "cpu").metric
    assert from_pretrained(metric, device="cpu").metric
    # The original's way of loading sees nothing of it.
    VideoDepthAnything("vits").load_state_dict(torch.load(metric, weights_only=True), strict=True)


def test_the_average_follows_the_weights(make_model: MakeModel) -> None:
    trainer = trainer_of(make_model(), Settings(ema=0.5, warmup=0, lr=1e-2))
    name = "head.scratch.output_conv1.weight"
    trainer.train_step(make_batch(0))
    first = weights(trainer.model)[name]
    torch.testing.assert_close(trainer.averaged_state()[name], first)  # the start is forgotten
    trainer.train_step(make_batch(1))
    second = weights(trainer.model)[name]
    torch.testing.assert_close(trainer.averaged_state()[name], 2 / 11 * first + 9 / 11 * second)
    assert set(trainer.averaged_state()) == set(trainer.model.state_dict())


def test_the_saved_checkpoint_loads_strictly(make_model: MakeModel, tmp_path: Path) -> None:
    trainer = trainer_of(make_model(), Settings(warmup=0))
    trainer.train_step(make_batch(0))
    save_checkpoint(trainer.averaged_state(), tmp_path / "model.pth", half=True)
    assert (tmp_path / "model.pth").stat().st_size < 60e6
    model = load_model("vits", checkpoint=tmp_path / "model.pth", device="cpu")
    key = "head.scratch.output_conv1.weight"
    torch.testing.assert_close(model.state_dict()[key], trainer.averaged_state()[key], rtol=1e-3, atol=1e-3)


def test_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    output = tmp_path / "weights.pth"
    output.write_bytes(b"old")
    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OutputError, match="disk full"):
        save_checkpoint({"a": torch.ones(1)}, output, half=False)
    assert output.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [output]
