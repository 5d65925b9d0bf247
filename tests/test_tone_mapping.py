"""HDR to ordinary range, against values computed here from the standards' own numbers."""

from __future__ import annotations

import av
import numpy as np
import pytest

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
