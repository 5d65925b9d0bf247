"""The encoder's last blocks in training: live on the stream that a cache keeps."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from recipes import synthetic_frames
from torch import Tensor

from starter import train
from starter.cache import fingerprint
from starter.network import CachedNetwork, encode_frozen, maps_from_stream
from training.batches import Batch
from training.network import frozen_encoder, token_maps
from training.processes import ProcessGroup
from training.settings import Settings
from training.trainer import Trainer
from video_depth_anything.device import Execution
from video_depth_anything.transform import preprocess
from video_depth_anything.video_depth import VideoDepthAnything

pytestmark = pytest.mark.slow

HEIGHT, WIDTH = 28, 42
FP32 = Execution(torch.device("cpu"), None, 1)


@pytest.fixture
def model(golden_model: VideoDepthAnything) -> VideoDepthAnything:
    with torch.device("meta"):
        copied = VideoDepthAnything("vits")
    copied.load_state_dict({n: v.clone() for n, v in golden_model.state_dict().items()}, assign=True)
    return copied


@pytest.fixture(scope="module")
def images() -> Tensor:
    frames = synthetic_frames(3, HEIGHT, WIDTH, seed=4)
    return torch.from_numpy(np.stack([preprocess(frame, (HEIGHT, WIDTH)) for frame in frames]))


FINE = {f"head.{part}" for part in ("projects.0", "projects.1", "resize_layers.0", "resize_layers.1", *(
    f"scratch.{name}" for name in ("layer1_rn", "layer2_rn", "refinenet1", "refinenet2", "output_conv1", "output_conv2")
))}  # fmt: skip


def cached(model: VideoDepthAnything, images: Tensor, blocks: int) -> tuple[Tensor, ...]:
    """What a cache would hand over for one clip."""
    with torch.no_grad():
        *maps, stream = encode_frozen(model, images, blocks)
    return (*(x.unflatten(1, (2, 3))[None] for x in maps), stream[None])


@pytest.mark.parametrize(("blocks", "maps"), [(1, 3), (2, 3), (3, 2), (8, 1)])
def test_stream_and_live_blocks_give_the_models_own_maps(
    model: VideoDepthAnything, images: Tensor, blocks: int, maps: int
) -> None:
    with torch.no_grad():
        whole = token_maps(model, images)
        *kept, stream = encode_frozen(model, images, blocks)
        live = maps_from_stream(model.pretrained, stream, blocks)
    assert (len(kept), len(live)) == (maps, 4 - maps)
    assert all(torch.equal(a, b) for a, b in zip((*kept, *live), whole))
    assert whole[3].std() > 0.05


@pytest.mark.parametrize("stage", ["image", "clip"])
def test_depth_from_the_stream_is_the_models_own(model: VideoDepthAnything, images: Tensor, stage: str) -> None:
    network = CachedNetwork(model, stage, encoder_blocks=3).eval()  # type: ignore[arg-type]
    with torch.no_grad():
        depth = network(cached(model, images, 3), [0, 1, 2])
        alone = torch.stack([model(images[None, t : t + 1])[0, 0] for t in range(3)])
        wanted = model(images[None]) if stage == "clip" else network((images[None],), [0, 1, 2])
    torch.testing.assert_close(depth, wanted, rtol=1e-4, atol=1e-4)
    assert depth.shape == (1, 3, HEIGHT, WIDTH) and alone.std() > 0.05


def test_live_blocks_are_trained_and_nothing_else_of_the_encoder(model: VideoDepthAnything, images: Tensor) -> None:
    network = CachedNetwork(model, "image", encoder_blocks=3)
    trainer = Trainer(network, Settings(encoder_blocks=3, encoder_lr=1e-4, warmup=0), FP32, ProcessGroup())
    before = {n: v.clone() for n, v in trainer.model.state_dict().items()}
    target = torch.rand(1, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    batch = Batch(cached(model, images, 3), target, target > 0.1)
    trainer.train_step(batch)
    changed = {n for n, v in trainer.model.state_dict().items() if not torch.equal(v, before[n])}
    blocks = {n for n in before if n.startswith(tuple(f"pretrained.blocks.{k}." for k in (9, 10, 11)))}
    assert {n for n in changed if n.startswith("pretrained.")} == blocks
    assert any(n.startswith("head.") for n in changed)
    assert fingerprint(frozen_encoder(trainer.model.state_dict(), 3)) == fingerprint(frozen_encoder(before, 3))
    assert fingerprint(frozen_encoder(trainer.model.state_dict(), 0)) != fingerprint(frozen_encoder(before, 0))
    assert {g["initial_lr"] for g in trainer.optimizer.param_groups} == {1e-4}


def test_the_coarser_half_stays_as_it_is_and_the_finer_learns(model: VideoDepthAnything, images: Tensor) -> None:
    settings = train.CacheSettings(coarse_share=0, log_gradient_weight=2.0, keep_weight=1.0, warmup=0)
    guide = CachedNetwork(copy.deepcopy(model), "image")
    trainer = Trainer(CachedNetwork(model, "image"), settings, FP32, ProcessGroup(), guide=guide)
    before = {n: v.clone() for n, v in trainer.model.state_dict().items()}
    target = torch.rand(1, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    batch = Batch((images[None],), target, target > 0.1)
    losses = trainer.train_step(batch)
    assert losses["log_gradient_loss"] > 0
    # The guide is what the network was before its first step, and stays it.
    assert losses["keep_loss"] == pytest.approx(0, abs=1e-5) and trainer.train_step(batch)["keep_loss"] > 1e-4
    changed = {n for n, v in trainer.model.state_dict().items() if not torch.equal(v, before[n])}
    assert changed and all(".".join(n.split(".")[:3]) in FINE for n in changed)


def test_coarse_training_learns_two_pixels_a_patch(model: VideoDepthAnything, images: Tensor) -> None:
    settings = train.CacheSettings(coarse=True, steps=1000, lr=3e-4, warmup=0, log_weight=1.0)
    trainer = Trainer(CachedNetwork(model, "image", coarse=True), settings, FP32, ProcessGroup())
    target = torch.rand(1, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    batch = Batch((images[None],), target, target > 0.1)
    assert trainer.network(batch.inputs, [0]).shape == (1, 1, 2 * HEIGHT // 14, 2 * WIDTH // 14)
    assert trainer.predict(batch.inputs, [0]).shape == (1, 1, HEIGHT, WIDTH)
    losses = [trainer.train_step(batch)["total_loss"] for _ in range(11)]
    assert losses[-1] < 0.9 * losses[0]
    # The pixel taken for each of them is the middle of those it stands for: on a ramp, their mean.
    ramp = torch.arange(HEIGHT * WIDTH, dtype=torch.float32).view(1, HEIGHT, WIDTH)
    assert torch.equal(trainer.network.pixels(ramp), torch.nn.functional.avg_pool2d(ramp, 7))


def test_rates_and_refusals_of_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    common = ["--output", "run", "--cache", "cache"]
    assert train.parse([*common, "--lr", "5e-4"]).encoder_lr == 0
    assert train.parse([*common, "--lr", "5e-4", "--encoder_blocks", "3"]).encoder_lr == pytest.approx(5e-5)
    assert train.parse([*common, "--encoder_blocks", "3", "--encoder_lr", "0"]).encoder_lr == 0
    for wrong, word in ((["--encoder_blocks", "9"], "at most 8"), (["--encoder_lr", "1e-5"], "frozen encoder")):
        with pytest.raises(SystemExit):
            train.parse([*common, *wrong])
        assert word in capsys.readouterr().err
