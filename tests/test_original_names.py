"""Programs for the original: what they import, how they call it, what they get; docs/lab/original.md lists it all."""

from __future__ import annotations

import warnings
from importlib import import_module
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from recipes import golden_arrays, synthetic_frames

from video_depth_anything.config import ENCODERS, MODEL_CONFIGS
from video_depth_anything.transform import network_size, preprocess
from video_depth_anything.video_depth import VideoDepthAnything

ROOT = Path(__file__).resolve().parents[1]
NAMES = {
    "video_depth_anything.video_depth": (
        "VideoDepthAnything INFER_LEN OVERLAP KEYFRAMES INTERP_LEN compute_scale_and_shift get_interpolate_frames"
    ),
    "video_depth_anything.video_depth_stream": (
        "VideoDepthAnything INFER_LEN OVERLAP KEYFRAMES INTERP_LEN compute_scale_and_shift get_interpolate_frames"
    ),
    "video_depth_anything.dinov2": "DINOv2",
    "video_depth_anything.dinov2_layers": "Attention Block LayerScale MemEffAttention Mlp PatchEmbed",
    "video_depth_anything.dinov2_layers.attention": "Attention MemEffAttention XFORMERS_AVAILABLE",
    "video_depth_anything.dinov2_layers.block": "Block XFORMERS_AVAILABLE",
    "video_depth_anything.dpt_temporal": "DPTHeadTemporal",
    "video_depth_anything.motion_module.attention": "XFORMERS_AVAILABLE",
    "video_depth_anything.motion_module.motion_module": "PositionalEncoding TemporalModule",
    "video_depth_anything.util.transform": "NormalizeImage PrepareForNet Resize",
    "utils.dc_utils": "DECORD_AVAILABLE ensure_even read_video_frames save_video",
    "utils.util": "compute_scale compute_scale_and_shift compute_scale_and_shift_full get_interpolate_frames",
}


@pytest.mark.parametrize("module", NAMES)
def test_imports(module: str) -> None:
    page = (ROOT / "docs" / "lab" / "original.md").read_text()
    for name in NAMES[module].split():
        assert hasattr(import_module(module), name)
        assert name in page


def test_constants() -> None:
    import video_depth_anything.video_depth_stream as stream

    assert (stream.INFER_LEN, stream.OVERLAP, stream.INTERP_LEN) == (32, 10, 8)
    assert [0, 12, *range(24, 32)] == stream.KEYFRAMES


def test_switching_xformers_off_changes_nothing(golden_model: VideoDepthAnything) -> None:
    import video_depth_anything.dinov2_layers.attention as encoder_attention
    import video_depth_anything.motion_module.attention as temporal_attention

    encoder_attention.XFORMERS_AVAILABLE = False
    temporal_attention.XFORMERS_AVAILABLE = False
    assert isinstance(golden_model.pretrained.blocks[0].attn, encoder_attention.MemEffAttention)


def test_fits_under_their_other_names() -> None:
    from utils.util import compute_scale, compute_scale_and_shift_full

    golden = golden_arrays("utils")
    arrays = golden["prediction"], golden["target"], golden["mask"]
    np.testing.assert_allclose(compute_scale_and_shift_full(*arrays), golden["scale_shift"], rtol=2e-6)
    np.testing.assert_allclose(compute_scale(*arrays), golden["scale_only"], rtol=2e-6)


@pytest.mark.parametrize(("height", "width", "input_size"), [(48, 64, 56), (64, 48, 56), (80, 40, 70), (37, 61, 28)])
def test_preprocessing_in_steps(height: int, width: int, input_size: int) -> None:
    """Composed as such programs do, with the size rule for long frames on their side."""
    from video_depth_anything.util.transform import NormalizeImage, PrepareForNet, Resize

    frame = synthetic_frames(1, height, width, seed=3)[0]
    ratio = max(height, width) / min(height, width)
    side = round(int(input_size * 1.777 / ratio) / 14) * 14 if ratio > 1.78 else input_size
    resize = Resize(
        width=side,
        height=side,
        resize_target=False,
        keep_aspect_ratio=True,
        ensure_multiple_of=14,
        resize_method="lower_bound",
        image_interpolation_method=cv2.INTER_CUBIC,
    )
    sample = {"image": frame.astype(np.float32) / 255.0}
    for step in (resize, NormalizeImage([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]), PrepareForNet()):
        sample = step(sample)
    size = network_size(height, width, input_size)
    assert (sample["image"].dtype, sample["image"].shape) == (np.float32, (3, *size))
    np.testing.assert_allclose(sample["image"], preprocess(frame, size), atol=2e-6)


def test_sizes_by_every_method() -> None:
    from video_depth_anything.util.transform import PrepareForNet, Resize

    def size(method: str, keep: bool = True, multiple: int = 1) -> tuple[int, int]:
        return Resize(100, 60, True, keep, multiple, method).get_size(200, 80)  # type: ignore[arg-type]

    assert size("lower_bound") == (150, 60)
    assert size("upper_bound") == (100, 40)
    assert size("minimal") == (150, 60)
    assert size("lower_bound", keep=False) == (100, 60)
    assert size("lower_bound", multiple=32) == (160, 64)
    assert size("upper_bound", multiple=32) == (96, 32)
    with pytest.raises(ValueError, match="unknown resize_method 'exact'"):
        size("exact")
    depth = np.arange(12, dtype=np.float32).reshape(3, 4)
    sample = {"image": np.zeros((3, 4, 3)), "depth": depth, "mask": depth > 5}
    resized = Resize(8, 6)(sample)
    np.testing.assert_array_equal(resized["depth"], depth.repeat(2, 0).repeat(2, 1))
    np.testing.assert_array_equal(resized["mask"], resized["depth"] > 5)
    assert PrepareForNet()(resized)["image"].shape == (3, 6, 8)


def test_constructor_in_the_originals_order() -> None:
    with torch.device("meta"):
        model = VideoDepthAnything("vits", 64, [48, 96, 192, 384], False, False, 32, "ape", True)
        assert model.metric
        assert model.config == MODEL_CONFIGS["vits"]
        for name, value in (("use_bn", True), ("use_clstoken", True), ("num_frames", 16), ("pe", "rope")):
            with pytest.raises(ValueError, match=f"{name}="):
                VideoDepthAnything(encoder="vits", **{name: value})  # type: ignore[arg-type]


def test_parameter_counts_are_the_published_ones() -> None:
    page = (ROOT / "docs" / "lab" / "original.md").read_text()
    for encoder in ENCODERS:
        with torch.device("meta"):
            model = VideoDepthAnything(encoder)
        unused = ("_token", "pos_embed", "refinenet4.resConfUnit1")
        layers = sum(p.numel() for name, p in model.named_parameters() if not any(part in name for part in unused))
        assert f"{layers:,}" in page
        assert f"{sum(p.numel() for p in model.parameters()):,}" in page


def test_halves_taken_apart(golden_model: VideoDepthAnything) -> None:
    frames = torch.randn(2, 5, 3, 28, 42, generator=torch.Generator().manual_seed(1))
    encoder = golden_model.pretrained
    assert (encoder.embed_dim, encoder.patch_size) == (384, 14)
    with torch.inference_mode():
        whole = golden_model(frames)
        taps = golden_model.intermediate_layer_idx[golden_model.encoder]
        features = encoder.get_intermediate_layers(frames.flatten(0, 1), taps, return_class_token=True)
        depth, _ = golden_model.head(features, 2, 3, 5)
        halves, _ = golden_model.forward_depth(golden_model.forward_features(frames), frames.shape)
        small = golden_model(frames, micro_batch_size=2)
    assert depth.shape == (10, 1, 28, 42)
    for found in (depth.squeeze(1).unflatten(0, (2, 5)), halves, small):
        torch.testing.assert_close(found, whole, atol=2e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="one frame at a time follows cached states, got 5"):
        golden_model.forward_depth(features, frames.shape, [frames])


def test_head_built_and_loaded_alone(golden_model: VideoDepthAnything) -> None:
    from video_depth_anything.dinov2 import DINOv2
    from video_depth_anything.dpt_temporal import DPTHeadTemporal

    with torch.device("meta"):
        head, encoder = DPTHeadTemporal(384, 64, False, [48, 96, 192, 384], False, 32, "ape"), DINOv2("vits")
    head.load_state_dict(golden_model.head.state_dict(), strict=True, assign=True)
    encoder.load_state_dict(golden_model.pretrained.state_dict(), strict=True, assign=True)
    x = torch.randn(1, 3, 3, 28, 28, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        depth, _ = head(encoder.get_intermediate_layers(x[0], [2, 5, 8, 11], return_class_token=True), 2, 2, 3)
        torch.testing.assert_close(depth[:, 0], golden_model(x)[0], atol=2e-5, rtol=1e-5)


def test_layers_as_dinov2_gives_them(golden_model: VideoDepthAnything) -> None:
    encoder, images = golden_model.pretrained, torch.randn(2, 3, 28, 42, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        last = encoder(images, is_training=True)["x_norm_patchtokens"]
        (tokens,) = encoder.get_intermediate_layers(images)
        (_, raw) = encoder.get_intermediate_layers(images, 2, norm=False)
        (grid,) = encoder.get_intermediate_layers(images, 1, reshape=True)
        assert torch.equal(tokens, last)
        assert isinstance(raw, torch.Tensor) and torch.allclose(encoder.norm(raw), tokens, atol=1e-6)
        assert isinstance(grid, torch.Tensor) and torch.equal(grid.flatten(2).transpose(1, 2), tokens)
    assert grid.shape == (2, 384, 2, 3)


def test_traced_network_is_the_network(golden_model: VideoDepthAnything) -> None:
    example, other = torch.randn(2, 1, 4, 3, 42, 56, generator=torch.Generator().manual_seed(4))
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sizes become constants, and newer PyTorch advises another way
        traced = torch.jit.trace(golden_model, example)
        assert torch.equal(traced(other), golden_model(other))
