"""The network: keys, golden values of a forward pass, and the seam between its halves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from recipes import assert_close, assert_not_degenerate, golden_arrays, golden_json, synthetic_frames
from torch import nn

from video_depth_anything import DepthStream, choose_execution, load_backend
from video_depth_anything.config import ENCODERS, MODEL_CONFIGS
from video_depth_anything.dinov2_layers.attention import attend
from video_depth_anything.motion_module.motion_module import PositionalEncoding
from video_depth_anything.util.blocks import StridedConv2d
from video_depth_anything.video_depth import VideoDepthAnything


def noise(seed: int, *shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape, dtype=np.float32))


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("metric", [False, True])
def test_state_dict_has_the_published_keys_in_order(encoder: str, metric: bool) -> None:
    with torch.device("meta"):
        model = VideoDepthAnything(encoder, metric=metric)
    expected = golden_json(f"state_dict_{encoder}")
    assert [(key, list(value.shape)) for key, value in model.state_dict().items()] == list(expected.items())
    random = {key: torch.empty(shape, device="meta") for key, shape in expected.items()}
    model.load_state_dict(random, strict=True, assign=True)


def test_original_constructor_keywords() -> None:
    with torch.device("meta"):
        model = VideoDepthAnything(encoder="vits", features=64, out_channels=[48, 96, 192, 384])
    assert model.config == MODEL_CONFIGS["vits"]
    with pytest.raises(ValueError, match="unknown encoder 'vitx'; choose one of vits, vitb, vitl"):
        VideoDepthAnything("vitx")


def test_tokens_match_golden(golden_model: VideoDepthAnything) -> None:
    golden = golden_arrays("forward_vits")
    with torch.inference_mode():
        taps = golden_model.forward_features(noise(7, 4, 3, 70, 98)[None])
    for index, (patches, class_token) in enumerate(taps):
        assert_close(patches[:, :6, :24], golden[f"tokens{index}_slice"])
        assert_close(class_token, golden[f"cls{index}"])
        mean_std = (float(patches.mean()), float(patches.std()))
        np.testing.assert_allclose(mean_std, golden[f"tokens{index}_mean_std"], atol=5e-6)


@pytest.mark.parametrize(("seed", "shape"), [(7, (1, 4, 3, 70, 98)), (8, (1, 32, 3, 56, 56))])
def test_depth_matches_golden(golden_model: VideoDepthAnything, seed: int, shape: tuple[int, ...]) -> None:
    golden = golden_arrays("forward_vits")[f"depth_seed{seed}_{'x'.join(map(str, shape))}"]
    assert_not_degenerate(golden)
    with torch.inference_mode():
        depth = golden_model(noise(seed, *shape))
    assert depth.dtype == torch.float32
    assert_close(depth, golden)


def test_epsilons() -> None:
    """The golden values hardly see them (1e-5)."""
    with torch.device("meta"):
        model = VideoDepthAnything("vits")
    for name, module in model.named_modules():
        if isinstance(module, nn.LayerNorm):
            assert module.eps == (1e-6 if name.startswith("pretrained") else 1e-5), name
        if isinstance(module, nn.GroupNorm):
            assert (module.eps, module.num_groups) == (1e-6, 32)


def test_untrained_motion_modules_are_the_identity() -> None:
    torch.manual_seed(0)
    model = VideoDepthAnything("vits")
    x = torch.randn(2, 192, 5, 3, 4)
    assert torch.equal(model.head.motion_modules[0](x)[0], x)


def test_position_table_of_another_formula() -> None:
    table = PositionalEncoding(64).pe[0].double()
    for position, channel in ((0, 0), (1, 0), (5, 7), (31, 62), (31, 63)):
        angle = position / 10000 ** (2 * (channel // 2) / 64)
        expected = np.sin(angle) if channel % 2 == 0 else np.cos(angle)
        assert abs(float(table[position, channel]) - expected) < 1e-5


def test_batch_of_clips_equals_clips_alone(golden_model: VideoDepthAnything) -> None:
    clips = noise(3, 2, 3, 3, 28, 42)
    with torch.inference_mode():
        together = golden_model(clips)
        alone = torch.cat([golden_model(clip[None]) for clip in clips])
    torch.testing.assert_close(together, alone, atol=2e-5, rtol=1e-5)


def test_decode_renders_only_the_slots_asked_for(golden_model: VideoDepthAnything) -> None:
    with torch.inference_mode():
        window = golden_model.encode(noise(4, 6, 3, 28, 42)).split_frames()
        whole = torch.cat(list(golden_model.decode(window, range(6), 6)), dim=1)
        parts = list(golden_model.decode(window, [1, 4, 5], 2))
    assert [part.shape[1] for part in parts] == [2, 1]
    torch.testing.assert_close(torch.cat(parts, dim=1), whole[:, [1, 4, 5]], atol=2e-5, rtol=1e-5)


def test_pixels_in_chunks_give_the_same(golden_model: VideoDepthAnything, monkeypatch: pytest.MonkeyPatch) -> None:
    x = noise(5, 1, 64, 8, 6, 7)
    whole, states = golden_model.head.motion_modules[2](x)
    monkeypatch.setattr("video_depth_anything.motion_module.motion_module.MAX_CHUNK_ELEMENTS_CPU", 8 * 8 * 64 * 5)
    parts, joined = golden_model.head.motion_modules[2](x)
    torch.testing.assert_close([parts, *joined], [whole, *states], atol=1e-5, rtol=1e-5)


def test_wrong_inputs(golden_model: VideoDepthAnything) -> None:
    with pytest.raises(ValueError, match="30x28 is not a multiple of 14"):
        golden_model(noise(1, 1, 1, 3, 30, 28))
    with pytest.raises(ValueError, match="at most 32 frames, got 33"):
        golden_model(noise(1, 1, 33, 3, 14, 14))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_the_end_in_float32(golden_model: VideoDepthAnything, dtype: torch.dtype) -> None:
    x = noise(7, 1, 4, 3, 70, 98)
    with torch.inference_mode():
        exact = golden_model(x)
        with torch.autocast("cpu", dtype=dtype):
            depth = golden_model(x)
    assert depth.dtype == torch.float32
    error = float((depth - exact).norm() / exact.norm())
    assert 0 < error < (0.03 if dtype == torch.bfloat16 else 0.005)
    # A result that had passed through half precision would repeat few values.
    assert depth.unique().numel() > 0.9 * depth[depth > 0].numel()


@pytest.mark.parametrize(("height", "width"), [(5, 1), (7, 2), (4, 3)])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 2, 1), (14, 14, 0)])
def test_strided_convolutions_of_narrow_maps(height: int, width: int, kernel: int, stride: int, padding: int) -> None:
    """With AMX, oneDNN's own are wrong in bfloat16 where the output is one pixel wide."""
    conv = StridedConv2d(64, 64, kernel, stride, padding)
    size = (height * stride, width * stride) if kernel == stride else (height, width)
    images = torch.randn(2, 64, *size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        exact = torch.nn.functional.conv2d(images, conv.weight, conv.bias, stride, padding)
        assert (conv(images) - exact).norm() <= 1e-5 * exact.norm()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert (conv(images).float() - exact).norm() <= 0.01 * exact.norm()


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_a_tall_frame_of_the_smallest_size(golden_model: VideoDepthAnything, backend: str) -> None:
    pytest.importorskip(backend)
    frame = synthetic_frames(1, 96, 48, seed=0)[0]
    depths = []
    for precision in ("bf16", "fp32"):
        execution = choose_execution("cpu", precision, backend)
        depths.append(DepthStream(load_backend(golden_model, execution), 28, execution).step(frame))
    assert np.linalg.norm(depths[0] - depths[1]) <= 0.08 * np.linalg.norm(depths[1])


@pytest.mark.parametrize("length", [1, 37, 256, 257, 600])
def test_attention_in_blocks_is_attention(length: int) -> None:
    q, k, v = torch.randn(2, length, 3, 4, 16, generator=torch.Generator().manual_seed(length)).permute(2, 0, 3, 1, 4)
    exact = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    with torch.no_grad():
        found = attend(q.bfloat16(), k.bfloat16(), v.bfloat16())
    assert found.dtype == torch.bfloat16
    assert (found.float() - exact).norm() <= 0.01 * exact.norm()
