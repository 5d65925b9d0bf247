"""Patterns of public programs for the original, each written small.

Right values come from what the original's interface promises: a caller's own bookkeeping equals a calm stream, and the
network's parts taken out equal the network. Values recorded from the original itself are in `tests/golden/`.
"""

from __future__ import annotations

import copy
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from recipes import assert_close, golden_arrays, synthetic_frames
from torch import Tensor, nn

from video_depth_anything import video_depth, video_depth_stream
from video_depth_anything.video_depth import VideoDepthAnything

ROOT = Path(__file__).resolve().parents[1]
Depths = npt.NDArray[np.float32]
STATE = ("transform", "frame_id_list", "frame_cache_list", "id", "frame_height", "frame_width")


@pytest.fixture
def model(golden_model: VideoDepthAnything) -> VideoDepthAnything:
    """The golden network, for tests that change it."""
    return copy.deepcopy(golden_model)


@pytest.fixture
def stream(golden_model: VideoDepthAnything) -> Any:
    """The golden weights in the class with the state of a stream."""
    with torch.device("meta"):
        model = video_depth_stream.VideoDepthAnything("vits").eval()
    model.load_state_dict(golden_model.state_dict(), strict=True, assign=True)
    return model.requires_grad_(False)


def infer(model: Any, frame: npt.NDArray[np.uint8], input_size: int = 28) -> Depths:
    depth: Depths = model.infer_video_depth_one(frame, input_size=input_size, device="cpu", fp32=True)
    return depth


def calm(model: Any, frames: npt.NDArray[np.uint8]) -> list[Depths]:
    model.reset_stream()
    depths = [infer(model, frame) for frame in frames]
    model.reset_stream()
    return depths


def assert_equal(found: list[Depths], expected: list[Depths]) -> None:
    np.testing.assert_array_equal(np.stack(found), np.stack(expected))


# The state of a stream in the caller's hands.


@pytest.mark.parametrize("names", [STATE, STATE[::-1]])
def test_two_cameras_by_saved_attributes(stream: Any, names: tuple[str, ...]) -> None:
    """Of different sizes, for 14 frames: the lists lose their second entry from frame 11 on."""
    videos = synthetic_frames(14, 28, 42, seed=1), synthetic_frames(14, 42, 28, seed=2)
    expected = [calm(stream, frames) for frames in videos]
    states: list[dict[str, Any]] = [{name: getattr(stream, name) for name in STATE} for _ in videos]
    for state in states:
        state["frame_id_list"], state["frame_cache_list"] = [], []
    found: tuple[list[Depths], ...] = ([], [])
    for number in range(14):
        for camera, frames in enumerate(videos):
            for name in names:
                setattr(stream, name, states[camera][name])
            found[camera].append(infer(stream, frames[number]))
            states[camera] = {name: getattr(stream, name) for name in STATE}
    for camera in (0, 1):
        assert_equal(found[camera], expected[camera])


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_two_cameras_by_copies(stream: Any, copied: Callable[[Any], Any]) -> None:
    videos = synthetic_frames(4, 28, 28, seed=3), synthetic_frames(4, 28, 42, seed=4)
    expected = [calm(stream, frames) for frames in videos]
    cameras = [copied(stream) for _ in videos]
    pairs = [(infer(cameras[0], a), infer(cameras[1], b)) for a, b in zip(*videos)]
    for camera in (0, 1):
        assert_equal([pair[camera] for pair in pairs], expected[camera])


def test_going_back_to_an_earlier_frame(stream: Any) -> None:
    frames = synthetic_frames(4, 28, 28, seed=5)
    expected = calm(stream, frames)
    for frame in frames[:2]:
        infer(stream, frame)
    kept = {name: copy.copy(getattr(stream, name)) for name in STATE}
    infer(stream, frames[0])
    infer(stream, frames[1])
    for name, value in kept.items():
        setattr(stream, name, value)
    assert_equal([infer(stream, frame) for frame in frames[2:]], expected[2:])


@pytest.mark.parametrize(
    "reset",
    [
        lambda model: (model.frame_cache_list.clear(), model.frame_id_list.clear()),
        lambda model: model.frame_cache_list.clear(),
        lambda model: delattr(model, "frame_height"),
        lambda model: model.__dict__.update(transform=None, id=-1, frame_id_list=[], frame_cache_list=[]),
    ],
)
def test_a_new_video_after_clearing(stream: Any, reset: Callable[[Any], Any]) -> None:
    first, second = synthetic_frames(3, 28, 28, seed=6), synthetic_frames(3, 42, 28, seed=7)
    expected = calm(stream, second)
    for frame in first:
        infer(stream, frame)
    reset(stream)
    assert_equal([infer(stream, frame) for frame in second], expected)


def test_another_input_size_continues_with_the_first_one(stream: Any) -> None:
    frames = synthetic_frames(3, 42, 42, seed=8)
    expected = calm(stream, frames)
    assert_equal([infer(stream, frame, size) for frame, size in zip(frames, (28, 42, 14))], expected)
    assert stream.gap == 41


@torch.inference_mode()
@pytest.mark.parametrize("whole", [False, True])
def test_a_caller_that_keeps_the_states_itself(golden_model: VideoDepthAnything, whole: bool) -> None:
    """The original's own loop over `forward_depth`, or over `head`, against the depth recorded from the original."""
    golden = golden_arrays("streaming_vits")["depth"]
    frames = synthetic_frames(75, 48, 64, seed=75)[:13]
    cache: list[Any] = []
    for number, frame in enumerate(frames):
        image = video_depth_stream.FrameTransform((48, 64), 56)({"image": frame.astype(np.float32) / 255})["image"]
        x = torch.from_numpy(image)[None, None]
        context = [*cache[:2], *cache[-29:]]
        states = [torch.cat([held[i] for held in context], dim=1) for i in range(8)] if context else None
        features = golden_model.forward_features(x)
        if whole:
            depth, new = golden_model.forward_depth(features, x.shape, cached_hidden_state_list=states)
        else:
            depth, new = golden_model.head(features, 4, 5, 1, cached_hidden_state_list=states)
        depth = nn.functional.interpolate(depth.view(1, 1, 56, 70), (48, 64), mode="bilinear", align_corners=True)
        assert_close(depth[0, 0], golden[number])
        cache = [*cache, new] if cache else [new] * 32
        if number > 10:
            del cache[1]


@torch.inference_mode()
def test_states_of_a_window_are_those_of_its_frames(golden_model: VideoDepthAnything) -> None:
    """What follows a window sees its frames as it would see them had each been kept alone."""
    frames = torch.randn(1, 4, 3, 28, 28, generator=torch.Generator().manual_seed(1))
    features = golden_model.forward_features(frames)
    _, states = golden_model.forward_depth(features, frames.shape)
    assert [state.shape[:2] for state in states] == [(4, 4)] * 2 + [(1, 4)] * 2 + [(4, 4)] * 2 + [(16, 4)] * 2
    past = [state[:, :3] for state in states]
    last = frames[:, 3:]
    depth, new = golden_model.forward_depth(golden_model.forward_features(last), last.shape, past)
    # The first attention of the first two modules sees nothing but its own frame before it.
    torch.testing.assert_close(new[0], states[0][:, 3:], atol=1e-5, rtol=1e-4)
    assert depth.shape == (1, 1, 28, 28)


def test_gradients_reach_states(model: VideoDepthAnything) -> None:
    model.requires_grad_(True)
    frames = torch.randn(1, 1, 3, 28, 28, generator=torch.Generator().manual_seed(2))
    _, states = model.forward_depth(model.forward_features(frames), frames.shape)
    depth, _ = model.forward_depth(model.forward_features(frames), frames.shape, states)
    depth.sum().backward()
    block: Any = model.head.motion_modules[0]
    weight = block.temporal_transformer.transformer_blocks[0].attention_blocks[0].to_k.weight
    assert weight.grad is not None and weight.grad.abs().sum() > 0


# Parts that are replaced from outside.


def test_a_replaced_forward_is_called(model: VideoDepthAnything, caplog: pytest.LogCaptureFixture) -> None:
    frames = synthetic_frames(30, 28, 42, seed=9)
    expected, _ = model.infer_video_depth(frames, input_size=28, fp32=True)
    calls: list[tuple[int, ...]] = []
    original = model.forward

    def forward(x: Tensor) -> Tensor:
        calls.append(tuple(x.shape))
        return 2 * original(x)

    model.forward = forward  # type: ignore[method-assign,assignment]
    with caplog.at_level(logging.DEBUG):
        found, _ = model.infer_video_depth(frames, input_size=28, fp32=True)
    assert calls == [(1, 32, 3, 28, 42)] * 2
    np.testing.assert_allclose(found, 2 * expected, rtol=1e-3, atol=1e-4)
    assert [r.message for r in caplog.records] == ["replaced by the calling program, and called as it is: forward"]


def test_a_class_with_its_own_forward() -> None:
    class Constant(VideoDepthAnything):
        def forward(self, frames: Tensor, micro_batch_size: int = 32) -> Tensor:
            return torch.ones(*frames.shape[:2], *frames.shape[3:])

    model = Constant("vits").eval()
    depth, _ = model.infer_video_depth(synthetic_frames(3, 28, 28, seed=1), input_size=28, fp32=True)
    assert (depth == 1).all()


@pytest.mark.parametrize("part", ["forward_features", "get_intermediate_layers"])
def test_replaced_features_are_taken(stream: Any, part: str) -> None:
    frames = synthetic_frames(3, 28, 28, seed=10)
    expected = [stream.infer_video_depth(frames, input_size=28, fp32=True)[0], *calm(stream, frames)]
    holder = stream if part == "forward_features" else stream.pretrained
    original, calls = getattr(holder, part), []

    def replaced(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        return original(*args, **kwargs)

    holder.__dict__[part] = replaced
    found = [stream.infer_video_depth(frames, input_size=28, fp32=True)[0], *calm(stream, frames)]
    for a, b in zip(found, expected):
        np.testing.assert_array_equal(a, b)
    assert len(calls) == 3 + 3 or len(calls) == 1 + 3  # frames one by one, or together where the device likes that
    holder.__dict__[part] = lambda *args, **kwargs: [(2 * p, c) for p, c in original(*args, **kwargs)]
    assert not np.array_equal(stream.infer_video_depth(frames, input_size=28, fp32=True)[0], expected[0])


def test_progress_bar_of_the_callers(golden_model: VideoDepthAnything, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def bar(steps: range) -> Iterator[int]:
        for step in steps:
            seen.append(step)
            yield step

    monkeypatch.setattr(video_depth, "tqdm", bar)
    golden_model.infer_video_depth(synthetic_frames(25, 14, 14, seed=1), input_size=14, fp32=True)
    assert seen == [0, 22]


# Frames and weights of other kinds.


def test_bfloat16_frames(golden_model: VideoDepthAnything) -> None:
    """Whole numbers up to 255 are exact in bfloat16."""
    frames = synthetic_frames(2, 28, 28, seed=1)
    expected, _ = golden_model.infer_video_depth(frames, input_size=28, fp32=True)
    found, _ = golden_model.infer_video_depth(torch.from_numpy(frames).bfloat16(), input_size=28, fp32=True)
    np.testing.assert_array_equal(found, expected)


def test_channels_in_front_are_told(golden_model: VideoDepthAnything, caplog: pytest.LogCaptureFixture) -> None:
    frames = synthetic_frames(2, 28, 28, seed=1)
    with pytest.raises(ValueError, match=r"got \(3, 28, 28\) uint8; channels come last: frame.permute\(1, 2, 0\)"):
        golden_model.infer_video_depth(frames.transpose(0, 3, 1, 2), input_size=28)
    golden_model.infer_video_depth(frames.astype(np.uint16) * 257, input_size=28, fp32=True)
    assert "frames are expected to range from 0 to 255" in caplog.text


@pytest.mark.parametrize("cast", [lambda model: model.to(torch.bfloat16), lambda model: model.half()])
def test_half_weights_say_what_to_do(stream: Any, cast: Callable[[Any], Any]) -> None:
    frames = synthetic_frames(1, 28, 28, seed=1)
    model = cast(copy.deepcopy(stream))
    for call in (lambda: model.infer_video_depth(frames, input_size=28), lambda: infer(model, frames[0])):
        with pytest.raises(ValueError, match=r"the weights are b?float16; call model.float\(\)"):
            call()


def test_a_stream_over_a_loaded_network(checkpoint: Path) -> None:
    import video_depth_anything as vda

    loaded = vda.load_network(
        vda.ModelOptions("vits", checkpoint=checkpoint, input_size=28, device="cpu", backend="torch")
    )
    frames = synthetic_frames(2, 28, 28, seed=1)
    stream, expected = vda.DepthStream(loaded), loaded.new_stream()
    assert stream.input_size == 28
    for frame in frames:
        np.testing.assert_array_equal(stream.step(frame), expected.step(frame))


# Names, arguments and attributes of the network.


def test_hooks_on_motion_modules_see_the_originals_shapes(stream: Any) -> None:
    frames, shapes = synthetic_frames(2, 28, 42, seed=11), []

    def hook(_: nn.Module, inputs: tuple[Any, ...], output: tuple[Tensor, list[Tensor]]) -> None:
        shapes.append((tuple(inputs[0].shape), tuple(output[0].shape)))

    for module in stream.head.motion_modules:
        module.register_forward_hook(hook)
    stream.infer_video_depth(frames, input_size=28, fp32=True)
    assert shapes == [(x, x) for x in ((1, 192, 32, 2, 3), (1, 384, 32, 1, 2), (1, 64, 32, 2, 3), (1, 64, 32, 4, 6))]
    shapes.clear()
    calm(stream, frames)
    assert shapes[4:] == [(x, x) for x in ((1, 192, 1, 2, 3), (1, 384, 1, 1, 2), (1, 64, 1, 2, 3), (1, 64, 1, 4, 6))]


def test_a_motion_module_called_alone(golden_model: VideoDepthAnything) -> None:
    x = torch.randn(2, 64, 5, 3, 4, generator=torch.Generator().manual_seed(3))
    out, states = golden_model.head.motion_modules[2](x, None, None, None)
    assert out.shape == x.shape
    assert [state.shape[:2] for state in states] == [(24, 5)] * 2


def test_attributes_of_the_encoder() -> None:
    with torch.device("meta"):
        encoder: Any = VideoDepthAnything("vits").pretrained
    names = ("num_features", "embed_dim", "num_heads", "n_blocks", "num_tokens", "num_register_tokens", "patch_size")
    assert [getattr(encoder, name) for name in names] == [384, 384, 6, 12, 1, 0, 14]
    assert (encoder.interpolate_offset, encoder.chunked_blocks) == (0.1, False)
    block = encoder.blocks[3]
    assert (block.attn.scale, block.attn.num_heads) == (64**-0.5, 6)
    assert isinstance(block.mlp.act, nn.GELU)
    for part in (block.attn.attn_drop, block.attn.proj_drop, block.mlp.drop):
        assert part.p == 0
    assert isinstance(block.drop_path1, nn.Identity) and isinstance(block.drop_path2, nn.Identity)
    assert encoder.patch_embed.num_patches == 37 * 37


@torch.inference_mode()
def test_the_encoder_called_as_dinov2(golden_model: VideoDepthAnything) -> None:
    encoder = golden_model.pretrained
    images = torch.randn(2, 3, 28, 42, generator=torch.Generator().manual_seed(4))
    ((patches, token),) = encoder.get_intermediate_layers(images, 1, return_class_token=True)
    features = encoder(images, is_training=True)
    assert torch.equal(encoder(images), token) and torch.equal(features["x_norm_patchtokens"], patches)
    tokens = encoder.prepare_tokens_with_masks(images)
    assert tokens.shape == (2, 7, 384)
    position = encoder.interpolate_pos_encoding(tokens, 28, 42)
    assert torch.equal(tokens[:, 1:], encoder.patch_embed(images) + position[:, 1:])
    masks = torch.tensor([[True] * 6, [False] * 6])
    masked = encoder.prepare_tokens_with_masks(images, masks)
    assert torch.equal(masked[1], tokens[1])
    assert torch.equal(masked[0, 1:], encoder.mask_token + position[0, 1:])


def test_encoders_by_dinov2s_constructors(golden_model: VideoDepthAnything) -> None:
    from video_depth_anything import dinov2

    arguments: dict[str, Any] = {"img_size": 518, "patch_size": 14, "init_values": 1.0, "ffn_layer": "mlp"}
    arguments |= {"block_chunks": 0, "num_register_tokens": 0, "interpolate_offset": 0.1}
    with torch.device("meta"):
        encoder = dinov2.vit_small(**arguments)
        assert [dinov2.vit_base().embed_dim, dinov2.vit_large().n_blocks] == [768, 24]
    encoder.load_state_dict(golden_model.pretrained.state_dict(), strict=True, assign=True)
    with pytest.raises(ValueError, match="patch_size=16: the published networks have 14"):
        dinov2.vit_small(patch_size=16)


@torch.inference_mode()
def test_the_head_for_single_images() -> None:
    """With untrained motion modules, which are the identity, both heads give the same depth."""
    from video_depth_anything.dpt import DPTHead
    from video_depth_anything.dpt_temporal import DPTHeadTemporal

    torch.manual_seed(0)
    temporal = DPTHeadTemporal(384, 64, False, [48, 96, 192, 384])
    head = DPTHead(384, 64, False, [48, 96, 192, 384], False)
    head.load_state_dict({k: v for k, v in temporal.state_dict().items() if not k.startswith("motion")}, strict=True)
    images = torch.randn(3, 3, 28, 42, generator=torch.Generator().manual_seed(5))
    encoder = video_depth.DINOv2("vits")
    features = encoder.get_intermediate_layers(images, [2, 5, 8, 11], return_class_token=True)
    depth = head(features, 2, 3)
    assert depth.shape == (3, 1, 28, 42)
    torch.testing.assert_close(depth, temporal(features, 2, 3, 3)[0], atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_layers_alone() -> None:
    """Each against the arithmetic that its name stands for."""
    from video_depth_anything.dinov2_layers.layer_scale import LayerScale
    from video_depth_anything.dinov2_layers.mlp import Mlp
    from video_depth_anything.dinov2_layers.patch_embed import PatchEmbed
    from video_depth_anything.motion_module.attention import CrossAttention
    from video_depth_anything.motion_module.motion_module import PositionalEncoding, TemporalModule
    from video_depth_anything.util.blocks import FeatureFusionBlock, ResidualConvUnit, _make_scratch

    torch.manual_seed(1)
    x, context = torch.randn(2, 5, 16), torch.randn(2, 3, 8)
    assert torch.allclose(LayerScale(16, init_values=0.5)(x), x / 2)
    mlp = Mlp(16, 24, 8)
    torch.testing.assert_close(mlp(x), mlp.fc2(nn.functional.gelu(mlp.fc1(x))))
    attention = CrossAttention(16, cross_attention_dim=8, heads=2, dim_head=4)
    q, k, v = (
        y.view(2, -1, 2, 4).transpose(1, 2)
        for y in (attention.to_q(x), attention.to_k(context), attention.to_v(context))
    )
    mixed = (q @ k.transpose(-1, -2) / 2).softmax(-1) @ v
    torch.testing.assert_close(attention(x, context), attention.to_out[0](mixed.transpose(1, 2).reshape(2, 5, 8)))
    assert PatchEmbed(28, 14, 3, 16)(torch.randn(1, 3, 28, 42)).shape == (1, 6, 16)
    table = PositionalEncoding(16, max_len=32)
    torch.testing.assert_close(table(x) - x, table.pe[:, :5].expand_as(x))
    unit, image = ResidualConvUnit(16, nn.ReLU(False), False), torch.randn(1, 16, 4, 5)
    relu = nn.functional.relu
    torch.testing.assert_close(unit(image), image + unit.conv2(relu(unit.conv1(relu(image)))))
    block = FeatureFusionBlock(16, nn.ReLU(False), deconv=False, bn=False, expand=False, align_corners=True)
    assert block(image).shape == (1, 16, 8, 10)
    merged = block.resConfUnit2(image + block.resConfUnit1(image))
    resized = nn.functional.interpolate(merged, size=(7, 9), mode="bilinear", align_corners=True)
    torch.testing.assert_close(block(image, image, size=(7, 9)), block.out_conv(resized), atol=1e-5, rtol=1e-5)
    scratch = _make_scratch([4, 8, 8, 8], 16, groups=1, expand=False)
    assert [*scratch.state_dict()] == [f"layer{level}_rn.weight" for level in (1, 2, 3, 4)]
    module = TemporalModule(in_channels=64, num_attention_heads=8, num_transformer_block=1, zero_initialize=True)
    assert torch.equal(module(torch.ones(1, 64, 2, 2, 2), None)[0], torch.ones(1, 64, 2, 2, 2))
    with pytest.raises(ValueError, match="num_attention_heads=4"):
        TemporalModule(in_channels=64, num_attention_heads=4)


# Functions beside the network.


def test_float_masks_are_weights() -> None:
    """Against NumPy's weighted fit, whose weights are the square roots."""
    from utils.util import compute_scale, compute_scale_and_shift

    rng = np.random.default_rng(0)
    prediction, noise, weights = rng.random((3, 40, 50))
    target = 2 * prediction + 0.5 + noise * (prediction > 0.5)
    weights[:10] = 0
    slope, offset = np.polyfit(prediction.ravel(), target.ravel(), 1, w=np.sqrt(weights).ravel())
    np.testing.assert_allclose(compute_scale_and_shift(prediction, target, weights), (slope, offset), rtol=1e-9)
    scale = (weights * prediction * target).sum() / (weights * prediction**2).sum()
    np.testing.assert_allclose(compute_scale(prediction, target, weights), scale, rtol=1e-12)
    whole = compute_scale_and_shift(prediction, target, np.ones_like(weights))
    np.testing.assert_allclose(whole, compute_scale_and_shift(prediction, target, weights >= 0), rtol=1e-12)


def test_a_folder_of_ones_own_beside_utils(tmp_path: Path) -> None:
    """A program's own utils/mytools.py and loss/mine.py are found with the original's names beside them."""
    for file, name in (("utils/mytools.py", "TOOL"), ("loss/mine.py", "MINE")):
        (tmp_path / file).parent.mkdir()
        (tmp_path / file).write_text(f"{name} = 1")
    code = (
        "from utils.mytools import TOOL; from utils.dc_utils import ensure_even; from utils.util import compute_scale;"
        "from loss.mine import MINE; from loss.loss import VideoDepthLoss; print(TOOL + MINE)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert result.stdout == "2\n"


def test_the_evaluations_flag_for_files() -> None:
    from benchmark.flags import evaluation_parser

    arguments = ["--infer_path", "predictions", "--benchmark_path", "benchmark", "--infer_type", "npy"]
    assert evaluation_parser(None).parse_args(arguments).infer_type == "npy"
