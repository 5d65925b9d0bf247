"""HDR to ordinary range, against values computed here from the standards' own numbers."""

from __future__ import annotations

import math
from contextlib import closing
from pathlib import Path

import av
import numpy as np
import pytest
from ffmpeg import run_ffmpeg

from video_depth_anything.video.source import open_video
from video_depth_anything.video.tone_mapping import (
    ToneMapper,
    Transfer,
    compressed,
    hlg_to_light,
    light_to_pq,
    pq_to_light,
    to_bt709,
    tone_mapped,
)


def test_pq_has_the_light_of_its_standard() -> None:
    """BT.2100: signals of 0.508, 0.581 and 0.752 are 100, 203 and 1000 cd/m2."""
    np.testing.assert_allclose(
        pq_to_light(np.array([0.0, 0.508078, 0.580690, 0.751827, 1.0])), [0, 100, 203, 1000, 1e4], rtol=1e-3
    )
    np.testing.assert_allclose(light_to_pq(np.array([100.0, 203, 1000])), [0.508078, 0.580690, 0.751827], atol=1e-5)


def test_hlg_has_the_light_of_its_standard() -> None:
    """BT.2408: three quarters of HLG is diffuse white, 203 cd/m2 on a screen of 1000."""
    light = hlg_to_light(np.array([[0.0] * 3, [0.75] * 3, [1.0] * 3]))
    np.testing.assert_allclose(light[:, 1], [0, 203, 1000], rtol=0.01, atol=0.01)


def test_the_curve_leaves_the_dark_alone_and_ends_at_white() -> None:
    light = np.geomspace(0.01, 1000, 200)
    mapped = compressed(light)
    assert (np.diff(mapped) > 0).all()
    dark = light < 80
    np.testing.assert_allclose(mapped[dark], light[dark], rtol=1e-6)
    assert mapped[-1] == pytest.approx(203, rel=1e-3)


def test_primaries() -> None:
    """BT.2087's matrix from BT.2020 to BT.709."""
    right = [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]
    np.testing.assert_allclose(to_bt709(9), right, atol=1e-4)
    np.testing.assert_allclose(to_bt709(1), np.eye(3), atol=1e-12)


@pytest.mark.parametrize("transfer", ["pq", "hlg"])
def test_the_table_gives_what_the_formula_gives(transfer: Transfer) -> None:
    rng = np.random.default_rng(0)
    gray = rng.random((64, 1, 1)).repeat(64, axis=1).repeat(3, axis=2) * 0.75
    signal = np.concatenate([gray, np.clip(gray + rng.normal(0, 0.03, gray.shape), 0, 1)])
    frame = av.VideoFrame.from_ndarray(np.round(signal * 65535).astype(np.uint16), format=ToneMapper.FORMAT)
    found = ToneMapper(transfer, 9).map(frame).to_ndarray() / 65535
    error = np.abs(found - tone_mapped(signal, transfer, 9).clip(0, 1)) * 255
    assert error[:64].max() < 0.5
    assert np.quantile(error, 0.99) < 1


def lit(signal: tuple[float, float, float], transfer: str) -> list[float]:
    """BT.2100: the light in cd/m2 of one colour's signals."""
    if transfer == "smpte2084":
        powers = [value ** (32 / 2523) for value in signal]
        return [1e4 * (max(p - 0.8359375, 0) / (18.8515625 - 18.6875 * p)) ** (16384 / 2610) for p in powers]
    scene = [v * v / 3 if v <= 0.5 else (math.exp((v - 0.55991073) / 0.17883277) + 0.28466892) / 12 for v in signal]
    gain = 1000 * (0.2627 * scene[0] + 0.6780 * scene[1] + 0.0593 * scene[2]) ** 0.2
    return [gain * value for value in scene]


def pq(light: float) -> float:
    power = (light / 1e4) ** (2610 / 16384)
    return float(((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** (2523 / 32))


def shown(signal: tuple[float, float, float], transfer: str) -> list[float]:
    """One colour as BT.2390 brings it to a screen of 203 cd/m2 and as sRGB says it, 0 to 255; worked out by hand."""
    light = lit(signal, transfer)
    brightest = max(*light, 1e-6)
    white, peak = pq(203.0), pq(1000.0)
    knee = 1.5 * white / peak - 0.5
    level = min(pq(brightest) / peak, 1.0)
    if level > knee:
        t = (level - knee) / (1 - knee)
        hermite = (2 * t**3 - 3 * t**2 + 1, t**3 - 2 * t**2 + t, 3 * t**2 - 2 * t**3)
        level = hermite[0] * knee + hermite[1] * (1 - knee) + hermite[2] * white / peak
    wanted = lit((level * peak,) * 3, "smpte2084")[0]
    r, g, b = (value * wanted / brightest / 203 for value in light)
    linear = (
        1.6605 * r - 0.5876 * g - 0.0728 * b,
        -0.1246 * r + 1.1329 * g - 0.0083 * b,
        -0.0182 * r - 0.1006 * g + 1.1187 * b,
    )
    curve = [12.92 * v if v <= 0.0031308 else 1.055 * v ** (1 / 2.4) - 0.055 for v in linear]
    return [255 * min(max(v, 0), 1) for v in curve]


GRAYS = [(0.0,) * 3, (0.3,) * 3, (0.5,) * 3, (0.58,) * 3, (0.7,) * 3]
PATCHES = [*GRAYS, (0.5, 0.3, 0.2), (0.25, 0.5, 0.3), (0.3, 0.3, 0.6)]
MATRIX, PRIMARIES = "colorspace=bt2020nc", "color_primaries=bt2020"


@pytest.mark.parametrize("transfer", ["smpte2084", "arib-std-b67"])
@pytest.mark.parametrize(
    ("tags", "levels"), [((MATRIX, PRIMARIES), "tv"), ((), "tv"), ((PRIMARIES,), "pc"), ((MATRIX,), "pc")]
)
def test_patches_of_hdr_video_look_as_the_standards_say(
    tmp_path: Path, transfer: str, tags: tuple[str, ...], levels: str
) -> None:
    """Through file, decoder and converter, whichever of the tags are there beside the curve."""
    red, green, blue = np.array(PATCHES).T
    luma = 0.2627 * red + 0.6780 * green + 0.0593 * blue
    black, white, span = (64, 876, 896) if levels == "tv" else (0, 1023, 1023)
    planes = (black + white * luma, 512 + span * (blue - luma) / 1.8814, 512 + span * (red - luma) / 1.4746)
    raw = tmp_path / "patches.raw"
    data = [
        np.rint(plane).astype("<u2").repeat(side)[None].repeat(2 * side, 0) for plane, side in zip(planes, (8, 4, 4))
    ]
    raw.write_bytes(b"".join(plane.tobytes() for plane in data))
    path = tmp_path / "patches.mkv"
    size = ("-f", "rawvideo", "-pix_fmt", "yuv420p10le", "-s", f"{8 * len(PATCHES)}x16", "-i", raw)
    tagged = ":".join((f"setparams=color_trc={transfer}:range={levels}", *tags))
    run_ffmpeg(*size, "-vf", tagged, "-c:v", "libx265", "-x265-params", "lossless=1:log-level=0", path)
    with closing(open_video(path)) as source:
        picture = next(iter(source))
    right = np.array([shown(patch, transfer) for patch in PATCHES])
    off = np.abs(picture[8, 3::8] - right)
    assert off[: len(GRAYS)].max() <= 1
    # Ten bits, and the curve's steep beginning: the darkest part of a deep colour is 3 levels off.
    assert off.max() <= 3.5
