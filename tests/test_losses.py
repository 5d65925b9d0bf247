"""The training losses: recorded values first, then what each of them must not see, must see, and survive."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from recipes import golden_json
from torch import Tensor

from training.losses import (
    TemporalGradientMatchingLoss,
    TrimmedProcrustesLoss,
    VideoDepthLoss,
    align_clips,
    log_loss,
    scale_loss,
    trimmed_mae,
)

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
    temporal = TemporalGradientMatchingLoss(trim=0, scales=4)(*drawn).item()
    assert temporal == pytest.approx(GOLDEN["TemporalGradientMatchingLoss_trim0_scales4"], rel=RELATIVE)
    spatial = TrimmedProcrustesLoss()(*(x.flatten(0, 1) for x in drawn)).item()
    assert spatial == pytest.approx(GOLDEN["TrimmedProcrustesLoss_default"], rel=RELATIVE)


def test_the_originals_import_and_keywords(drawn: tuple[Tensor, Tensor, Tensor]) -> None:
    from loss.loss import TrimmedProcrustesLoss as Spatial
    from loss.loss import VideoDepthLoss as Whole

    losses = Whole(alpha=0.5, scales=4, trim=0.0, stable_scale=10, reduction="batch-based")(*drawn)
    for name, value in GOLDEN["VideoDepthLoss"].items():
        assert losses[name].item() == pytest.approx(value, rel=RELATIVE), name
    spatial = Spatial(alpha=0.5, scales=4, trim=0.2, reduction="batch-based")(*(x.flatten(0, 1) for x in drawn)).item()
    assert spatial == pytest.approx(GOLDEN["TrimmedProcrustesLoss_default"], rel=RELATIVE)
    with pytest.raises(ValueError, match="image-based"):
        Whole(reduction="image-based")  # type: ignore[arg-type]


def test_trimming_by_hand() -> None:
    errors = torch.tensor([[[1.0, 5.0, 2.0, 3.0, 9.0]]])
    mask = torch.tensor([[[True, True, True, True, False]]])
    # int(4 * 0.75) = 3 smallest of the 4 valid ones, over 4
    assert trimmed_mae(errors, torch.zeros_like(errors), mask, 0.25).item() == (1 + 2 + 3) / 4
    assert trimmed_mae(errors, torch.zeros_like(errors), mask, 0).item() == (1 + 5 + 2 + 3) / 4


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
    aligned = align_clips(prediction, target, mask.float())
    for clip in range(2):
        p, t = prediction[clip][mask[clip]].double(), target[clip][mask[clip]].double()
        columns = torch.stack((p, torch.ones_like(p)), dim=1)
        fit = torch.linalg.lstsq(columns, t).solution
        torch.testing.assert_close(aligned[clip][mask[clip]].double(), columns @ fit, rtol=1e-3, atol=1e-4)
