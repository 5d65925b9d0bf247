"""The training loss on random maps, as the original's script of this name: python loss/test_loss.py"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

# The folder above this one: from it `loss` is a package.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from loss.loss import VideoDepthLoss  # noqa: E402

B, T, H, W = 2, 32, 518, 518

if __name__ == "__main__":
    device = "cuda" if torch.cuda.is_available() else "cpu"
    prediction, target = torch.randn(2, B, T, H, W, device=device)
    mask = torch.ones(B, T, H, W, device=device).bool()
    print(f"loss: {VideoDepthLoss()(prediction, target, mask)}")
