"""The training losses: recorded values first, then what each of them must not see, must see, and survive."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from recipes import golden_json
from torch import Tensor

from loss.loss import (
    GradientLoss,
    TemporalGradientMatchingLoss,
    TrimmedMAELoss,
    TrimmedProcrustesLoss,
    VideoDepthLoss,
    compute_scale_and_shift,
    gradient_loss,
    normalize_prediction_robust,
    reduction_image_based,
)
from training.losses import keep_loss, log_gradient_loss, log_loss, scale_loss, silog_loss

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = golden_json("loss")
RELATIVE = 2e-6  # float32 sums of 10,000 numbers in another order


@pytest.fixture
def drawn() -> tuple[Tensor, Tensor, Tensor]:
    """Prediction, target and mask of the recorded values; the mask is drawn in float64."""
    rng = np.random.default_rng(31)
    shape = (2, 6, 28, 28)
    prediction, target = (torch.from_numpy(rng.random(shape, dtype=np.float32)) for _ in range(2))
    return prediction.requires_grad_(), target, torch.from_numpy(rng.random(shape) > 0.15)


def test_video_depth_loss_is_the_recorded_one(drawn: tuple[Tensor, Tensor, Tensor]) -> None:
    losses = VideoDepthLoss()(*drawn)
    for name, value in GOLDEN["VideoDepthLoss"].items():
        assert losses[name].item() == pytest.approx(value, rel=RELATIVE), name
    losses["total_loss"].backward()
    assert drawn[0].grad is not None
    assert drawn[0].grad.norm().item() == pytest.approx(GOLDEN["grad_norm"], rel=1e-5)


def test_parts_are_the_recorded_ones(drawn: tuple[Tensor, Tensor, Tensor]) -> None:
    temporal = TemporalGradientMatchingLoss(trim=0, temp_grad_scales=4)(*drawn).item()
    assert temporal == pytest.approx(GOLDEN["TemporalGradientMatchingLoss_trim0_scales4"], rel=RELATIVE)
    spatial = TrimmedProcrustesLoss()(*(x.flatten(0, 1) for x in drawn)).item()
    assert spatial == pytest.approx(GOLDEN["TrimmedProcrustesLoss_default"], rel=RELATIVE)


def test_trimming_by_hand() -> None:
    errors = torch.tensor([[[1.0, 5.0, 2.0, 3.0, 9.0]]])
    mask = torch.tensor([[[True, True, True, True, False]]])
    # int(4 * 0.75) = 3 smallest of the 4 valid ones, over 4
    assert TrimmedMAELoss(0.25)(errors, torch.zeros_like(errors), mask).item() == (1 + 2 + 3) / 4
    assert TrimmedMAELoss(0)(errors, torch.zeros_like(errors), mask).item() == (1 + 5 + 2 + 3) / 4
    # Image-based as published: the first of the sorted errors is divided by the image's 4 valid pixels.
    assert TrimmedMAELoss(0.25, "image-based")(errors, torch.zeros_like(errors), mask).item() == (1 / 4 + 2 + 3) / 3
    weighted = TrimmedMAELoss(0)(errors, torch.zeros_like(errors), mask, weight_mask=2 * mask)
    assert weighted.item() == 2 * (1 + 5 + 2 + 3) / 4
    with pytest.raises(ValueError, match="unknown reduction 'frame-based'"):
        TrimmedMAELoss(reduction="frame-based")  # type: ignore[arg-type]


# The same losses from their formulas, pixel by pixel in float64. Recorded from the original are the values for its
# defaults (the first two tests); for all other options these stand in for it.

Arrays = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.bool_]]


def plain_normalised(x: npt.NDArray[np.float64], mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    out = []
    for image, valid in zip(x, mask):
        median, scale = 0.0, 1.0
        if valid.any():
            median = np.sort(np.where(valid, image, 0.0), axis=None)[(image.size - 1) // 2]
            scale = max(np.abs(image[valid] - median).sum() / valid.sum(), 1e-6)
        out.append((image - median) / scale)
    return np.stack(out)


def plain_gradient(
    prediction: npt.NDArray[np.float64],
    target: npt.NDArray[np.float64],
    mask: npt.NDArray[np.bool_],
    scales: int = 4,
    strips: int = 1,
    by_image: bool = False,
) -> float:
    total = 0.0
    strip = np.arange(mask.shape[1]) // (mask.shape[1] // strips)
    for step in (2**k for k in range(scales)):
        sums, counts = [], []
        rows, columns = range(0, mask.shape[1], step), range(0, mask.shape[2], step)
        for p, t, m in zip(prediction, target, mask):
            found = 0.0
            for y in rows:
                for x in columns:
                    for y2, x2 in ((y, x + step), (y + step, x)):
                        if y2 in rows and x2 in columns and m[y, x] and m[y2, x2] and strip[y] == strip[y2]:
                            found += abs((p[y2, x2] - t[y2, x2]) - (p[y, x] - t[y, x]))
            sums.append(found)
            counts.append(int(m[::step, ::step].sum()))
        if by_image:
            total += float(np.mean([s / max(c, 1) for s, c in zip(sums, counts)]))
        else:
            total += sum(sums) / max(sum(counts), 1)
    return total


def plain_trimmed(
    prediction: npt.NDArray[np.float64],
    target: npt.NDArray[np.float64],
    mask: npt.NDArray[np.bool_],
    trim: float,
    by_image: bool = False,
) -> float:
    errors = np.sort(np.abs(prediction - target)[mask])
    kept = errors[: int(len(errors) * (1.0 - trim))]
    if not len(kept):
        return 0.0
    if by_image:
        for i, count in enumerate(mask.sum((1, 2))):
            kept[i] /= max(count, 1)
        return float(kept.mean())
    return float(kept.sum() / len(errors))


def plain_spatial(
    arrays: Arrays, trim: float = 0.2, by_image: bool = False, norm: bool = True, strips: int = 1
) -> float:
    p, t, m = arrays
    if norm:
        p, t = plain_normalised(p, m), plain_normalised(t, m)
    return plain_trimmed(p, t, m, trim, by_image) + 0.5 * plain_gradient(p, t, m, 4, strips, by_image)


def plain_temporal(
    arrays: Arrays, trim: float, scales: int, threshold: float, decay: float = 0.5, by_image: bool = False
) -> float:
    p, t, m = arrays
    losses = []
    for k in range(scales):
        if 2**k >= p.shape[1]:
            break
        change, wanted, seen = [], [], []
        for clip in range(len(p)):
            for frame in range(2**k, p.shape[1], 2**k):
                before = frame - 2**k
                valid = t[clip, frame][m[clip, frame]]
                move = t[clip, frame] - t[clip, before]
                change.append(p[clip, frame] - p[clip, before])
                wanted.append(move)
                near = np.abs(move) < threshold * (valid.max() - valid.min())
                seen.append(m[clip, frame] & m[clip, before] & near)
        losses.append(decay**k * plain_trimmed(np.stack(change), np.stack(wanted), np.stack(seen), trim, by_image))
    return sum(losses) / len(losses)


def plain_whole(arrays: Arrays, trim: float, by_image: bool = False) -> float:
    p, t, m = arrays
    flat = p.reshape(-1, *p.shape[2:]), t.reshape(-1, *t.shape[2:]), m.reshape(-1, *m.shape[2:])
    aligned = []
    for clip in range(len(p)):
        columns = np.stack((p[clip][m[clip]], np.ones(m[clip].sum())), axis=1)
        scale, shift = np.linalg.lstsq(columns, t[clip][m[clip]], rcond=None)[0]
        aligned.append(scale * p[clip] + shift)
    return plain_spatial(flat, trim, by_image) + 10 * plain_temporal(
        (np.stack(aligned), t, m), trim, 1, 0.05, 0.5, by_image
    )


@pytest.fixture
def small() -> Arrays:
    """Clips (2, 5, 9, 10) that change little, so that the temporal threshold keeps some pixels and not others."""
    rng = np.random.default_rng(5)
    target = rng.random((2, 1, 9, 10)) + 0.04 * rng.standard_normal((2, 5, 9, 10))
    return rng.random((2, 5, 9, 10)), target, rng.random((2, 5, 9, 10)) > 0.2


def as_images(arrays: Arrays) -> Arrays:
    p, t, m = arrays
    return p.reshape(-1, *p.shape[2:]), t.reshape(-1, *t.shape[2:]), m.reshape(-1, *m.shape[2:])


CASES: dict[str, tuple[Callable[..., Tensor], Callable[[Arrays], float], bool]] = {
    "trimmed": (TrimmedMAELoss(0.3), lambda x: plain_trimmed(*x, 0.3), True),
    "trimmed by image": (TrimmedMAELoss(0.3, "image-based"), lambda x: plain_trimmed(*x, 0.3, True), True),
    "gradient": (GradientLoss(3), lambda x: plain_gradient(*x, 3), True),
    "gradient by image": (GradientLoss(4, "image-based"), lambda x: plain_gradient(*x, 4, 1, True), True),
    "gradient of one scale": (gradient_loss, lambda x: plain_gradient(*x, 1), True),
    "strips": (lambda p, t, m: GradientLoss(2)(p, t, m, num_frame_h=3), lambda x: plain_gradient(*x, 2, 3), True),
    "spatial": (TrimmedProcrustesLoss(), plain_spatial, True),
    "spatial by image": (
        TrimmedProcrustesLoss(reduction="image-based"),
        lambda x: plain_spatial(x, by_image=True),
        True,
    ),
    "not normalised": (
        lambda p, t, m: TrimmedProcrustesLoss(trim=0.1)(p, t, m, num_frame_h=3, no_norm=True),
        lambda x: plain_spatial(x, 0.1, norm=False, strips=3),
        True,
    ),
    "temporal": (TemporalGradientMatchingLoss(), lambda x: plain_temporal(x, 0.2, 4, 0.05), False),
    "temporal, other thresholds": (
        TemporalGradientMatchingLoss(0.1, temp_grad_scales=2, temp_grad_decay=0.7, diff_depth_th=0.2),
        lambda x: plain_temporal(x, 0.1, 2, 0.2, 0.7),
        False,
    ),
    "whole": (lambda *x: VideoDepthLoss(trim=0.1)(*x)["total_loss"], lambda x: plain_whole(x, 0.1), False),
    "whole by image": (
        lambda *x: VideoDepthLoss(reduction="image-based")(*x)["total_loss"],
        lambda x: plain_whole(x, 0.0, True),
        False,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_those_of_the_formulas(small: Arrays, name: str) -> None:
    loss, plain, images = CASES[name]
    prediction, target, mask = as_images(small) if images else small
    p = torch.from_numpy(prediction).requires_grad_()
    m = torch.from_numpy(mask)
    found = loss(p, torch.from_numpy(target), m.double() if images else m)
    assert found.item() == pytest.approx(plain((prediction, target, mask)), rel=2e-5)
    found.backward()
    assert p.grad is not None
    rng = np.random.default_rng(6)
    for _ in range(3):
        # Along a direction, since one pixel's derivative hides in the rounding of all.
        direction, step = rng.standard_normal(prediction.shape), 1e-6
        high, low = (plain((prediction + sign * step * direction, target, mask)) for sign in (1, -1))
        along = float((p.grad.numpy() * direction).sum())
        assert along == pytest.approx((high - low) / (2 * step), rel=2e-3, abs=1e-5)


def test_statistics_are_handed_out_and_taken(small: Arrays) -> None:
    prediction, _, mask = (torch.from_numpy(x) for x in as_images(small))
    mask[3] = False
    normalised, (median, scale) = normalize_prediction_robust(prediction, mask.double())
    np.testing.assert_allclose(normalised, plain_normalised(prediction.numpy(), mask.numpy()))
    assert (median[3], scale[3]) == (0, 1) and not median.requires_grad
    again, _ = normalize_prediction_robust(prediction, mask.double(), ms=(median + 1, scale))
    torch.testing.assert_close(again, normalised - 1 / scale[:, None, None])
    loss = TrimmedProcrustesLoss(alpha=0)(prediction, prediction, mask, pred_ms=(median, scale), tar_ms=(median, scale))
    assert loss.item() == 0


def test_terms_of_images_are_averaged_over_images() -> None:
    terms, counts = torch.tensor([6.0, 8.0, 0.0]), torch.tensor([3.0, 4.0, 0.0])
    assert reduction_image_based(terms, counts).item() == pytest.approx((2 + 2 + 0) / 3)


def test_the_originals_script_of_this_name(tmp_path: Path) -> None:
    script = (ROOT / "loss" / "test_loss.py").read_text().replace("2, 32, 518, 518", "1, 2, 14, 14")
    (tmp_path / "loss").mkdir()
    (tmp_path / "loss" / "test_loss.py").write_text(script)
    (tmp_path / "loss" / "loss.py").write_text((ROOT / "loss" / "loss.py").read_text())
    command = [sys.executable, "loss/test_loss.py"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stdout.startswith("loss: {'spatial_loss': tensor(")


def test_paper_formula_by_hand() -> None:
    """One pixel changes by -0.02 where the target changes by +0.03: the paper sees 0.01, the published code 0.05."""
    prediction = torch.tensor([0.5, 0.48]).view(1, 2, 1, 1)
    target = torch.tensor([0.5, 0.53]).view(1, 2, 1, 1)
    mask = torch.ones_like(target)
    paper = TemporalGradientMatchingLoss(trim=0, formula="paper")(prediction, target, mask)
    assert paper.item() == pytest.approx(0.01, abs=1e-6)
    # The published threshold is relative to the frame's range: a second pixel gives the frames one.
    prediction, target = (torch.cat((x, torch.full_like(x, 5.0)), dim=3) for x in (prediction, target))
    published = TemporalGradientMatchingLoss(trim=0)(prediction, target, torch.ones_like(target))
    assert published.item() == pytest.approx(0.05 / 2, abs=1e-6)
    # A change of the target above 0.05 is left out by the paper's absolute threshold.
    jump = torch.tensor([0.5, 0.56]).view(1, 2, 1, 1)
    assert TemporalGradientMatchingLoss(trim=0, formula="paper")(jump * 3, jump, torch.ones_like(jump)).item() == 0
    with pytest.raises(ValueError, match="formula"):
        TemporalGradientMatchingLoss(formula="other")  # type: ignore[arg-type]


def test_scale_and_shift_are_not_seen(drawn: tuple[Tensor, Tensor, Tensor]) -> None:
    prediction, target, mask = drawn
    plain, moved = (VideoDepthLoss()(p, target, mask | True) for p in (prediction, 7 * prediction + 3))
    for name, value in plain.items():
        assert moved[name].item() == pytest.approx(value.item(), rel=1e-3), name


def test_a_perfect_prediction_costs_nothing(drawn: tuple[Tensor, Tensor, Tensor]) -> None:
    _, target, mask = drawn
    assert VideoDepthLoss()(target, target, mask)["total_loss"].item() < 1e-5
    assert scale_loss(*(x.flatten(0, 1).float() for x in (target, target, mask))).item() < 1e-6


def test_scale_loss_pulls_towards_the_target() -> None:
    target = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0)) + 0.5
    mask = torch.ones_like(target)
    scale, shift = torch.tensor(20.0, requires_grad=True), torch.tensor(2.0, requires_grad=True)
    loss = scale_loss(scale * target + shift, target, mask)
    loss.backward()
    assert loss > 1
    assert scale.grad is not None and shift.grad is not None
    assert scale.grad > 0 and shift.grad > 0


def test_log_gradient_loss_is_the_height_of_a_missing_step_far_off_as_close_by() -> None:
    step = torch.ones(1, 16, 16)
    step[:, :, 8:] = 1.5
    flat, mask = torch.full_like(step, 2.0), torch.ones_like(step)
    assert log_gradient_loss(2 * step + 0.03, step, mask).item() == pytest.approx(0, abs=1e-5)
    # One column of 16, of 8, of 4 and of 2 pixels jumps.
    jump = np.log((1.5 + 0.03) / (1 + 0.03))
    assert log_gradient_loss(flat, step, mask).item() == pytest.approx(
        jump * (1 / 16 + 1 / 8 + 1 / 4 + 1 / 2), rel=1e-4
    )
    # Four times the weight is added in full at a jump of a quarter or more; a step of a tenth gets its share.
    missing = log_gradient_loss(flat, step, mask).item()
    assert log_gradient_loss(flat, step, mask, 4).item() == pytest.approx(5 * missing, rel=1e-4)
    low = torch.where(step > 1, 1.1, 1.0)
    share = np.log((1.1 + 0.03) / (1 + 0.03)) / np.log(1.25)
    missing = log_gradient_loss(flat, low, mask).item()
    assert log_gradient_loss(flat, low, mask, 4).item() == pytest.approx((1 + 4 * share) * missing, rel=1e-4)


def test_keep_loss_sees_distances_and_no_edges() -> None:
    """Twice the disparity costs ln 2; depth that is only sharper within a square costs nothing."""
    smooth = torch.ones(1, 4, 4)
    sharp = smooth.clone()
    sharp[:, :, 0::4], sharp[:, :, 3::4] = 0.5 * 1.03 - 0.03, 2 * 1.03 - 0.03
    assert keep_loss(sharp, smooth, 4).item() == pytest.approx(0, abs=1e-6)
    assert keep_loss(200 * smooth, 100 * smooth, 4).item() == pytest.approx(np.log(2), abs=1e-3)


def test_log_loss_sees_what_affine_invariant_losses_do_not() -> None:
    """Twice the disparity costs ln 2 wherever it is large beside the offset; an invalid pixel costs nothing."""
    target = torch.tensor([[[300.0, 500.0, 700.0]]])
    mask = torch.tensor([[[1.0, 1.0, 0.0]]])
    assert log_loss(target, target, mask).item() == 0
    assert log_loss(2 * target, target, mask).item() == pytest.approx(np.log(2), abs=1e-4)
    sky = torch.zeros(1, 1, 3, requires_grad=True)
    loss = log_loss(sky, target, mask)
    loss.backward()
    assert torch.isfinite(loss)
    assert sky.grad is not None
    assert (sky.grad[..., :2] < 0).all() and sky.grad[..., 2] == 0


def test_silog_is_eigens_formula() -> None:
    """Computed in NumPy on the valid pixels; metres that all lie off by one factor cost what is not forgiven of it."""
    rng = np.random.default_rng(3)
    metres, wrong = rng.uniform(0.5, 9, (2, 3, 4, 5)), rng.uniform(0.5, 9, (2, 3, 4, 5))
    mask = rng.random((2, 3, 4, 5)) > 0.3
    error = np.log(metres[mask]) - np.log(wrong[mask])
    expected = np.sqrt((error**2).mean() - 0.5 * error.mean() ** 2)
    target, prediction = torch.from_numpy(metres), torch.from_numpy(wrong).requires_grad_()
    loss = silog_loss(prediction, target, torch.from_numpy(mask))
    assert loss.item() == pytest.approx(expected, rel=1e-9)
    loss.backward()
    assert prediction.grad is not None and (prediction.grad.numpy()[~mask] == 0).all()
    everywhere = torch.ones_like(target)
    assert silog_loss(2 * target, target, everywhere).item() == pytest.approx(np.log(2) * np.sqrt(0.5), rel=1e-9)
    assert silog_loss(2 * target, target, everywhere, 1.0).item() == pytest.approx(0, abs=1e-6)


def test_silog_survives_no_depth_and_a_perfect_one() -> None:
    target = torch.full((1, 2, 3, 3), 2.0)
    for value, known in ((0, 1), (2, 1), (0, 0)):
        prediction = torch.full_like(target, value).requires_grad_()
        loss = silog_loss(prediction, target, torch.full_like(target, known))
        loss.backward()
        assert torch.isfinite(loss) and prediction.grad is not None and torch.isfinite(prediction.grad).all()
    assert loss.item() == 0


@pytest.mark.parametrize("trim", [0.0, 0.2])
def test_nothing_valid_costs_nothing_and_gradients_stay_finite(trim: float) -> None:
    prediction = torch.zeros(1, 3, 6, 6, requires_grad=True)
    target, mask = torch.zeros(1, 3, 6, 6), torch.zeros(1, 3, 6, 6, dtype=torch.bool)
    loss = VideoDepthLoss(trim=trim)(prediction, target, mask)["total_loss"]
    flat = prediction.flatten(0, 1), target.flatten(0, 1), mask.flatten(0, 1).float()
    loss = loss + scale_loss(*flat) + log_loss(*flat)
    loss.backward()
    assert loss.item() == 0
    assert prediction.grad is not None
    assert torch.isfinite(prediction.grad).all()


def test_alignment_is_that_of_lstsq(drawn: tuple[Tensor, Tensor, Tensor]) -> None:
    prediction, target, mask = (x.detach() for x in drawn)
    fits = compute_scale_and_shift(prediction.flatten(1, 2), target.flatten(1, 2), mask.flatten(1, 2))
    for clip in range(2):
        p, t = prediction[clip][mask[clip]].double(), target[clip][mask[clip]].double()
        fit = torch.linalg.lstsq(torch.stack((p, torch.ones_like(p)), dim=1), t).solution
        torch.testing.assert_close(torch.stack([x[clip] for x in fits]).double(), fit, rtol=1e-3, atol=1e-4)
    constant, singular = torch.ones(1, 2, 2), torch.ones(1, 2, 2)
    assert [x.item() for x in compute_scale_and_shift(constant, 3 * constant, singular)] == [0, 0]
