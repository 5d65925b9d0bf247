"""Random weights for benchmarks: nothing in the network is zero, constant or saturated with them.

    python benchmark/speed/weights.py vits weights.pth

Speed does not depend on the values, but the errors between variants do: with the values of initialisation the motion
modules are the identity and attention is nearly uniform, which would hide errors. A process of its own can draw them,
so that a benchmark of memory does not.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if not __package__:  # run as a file: the repository is not on the path, but this folder is
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from video_depth_anything.errors import CheckpointError

if TYPE_CHECKING:
    import torch


def random_weight(name: str, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Normal noise, scaled so that activations neither vanish nor explode."""
    import torch

    noise = torch.randn(shape, generator=generator)
    last = name.rsplit(".", 1)[-1]
    if last in ("cls_token", "pos_embed", "mask_token"):
        return 0.2 * noise
    if last == "gamma":
        return 0.4 + 0.05 * noise
    if last == "bias":
        # The end of the network is a ReLU: most of the picture shall lie above it.
        return 0.1 * noise + (3.0 if name == "head.scratch.output_conv2.2.bias" else 0.0)
    if len(shape) == 1:
        return 1 + 0.1 * noise
    return noise / noise[0].numel() ** 0.5


def random_state_dict(encoder: str) -> dict[str, torch.Tensor]:
    """Weights of a variant by the checkpoints' names, the same ones each time; float32."""
    import torch

    from video_depth_anything.video_depth import VideoDepthAnything

    generator = torch.Generator().manual_seed(0)
    return {
        # The position tables are no weights.
        name: value if name.endswith("pos_encoder.pe") else random_weight(name, tuple(value.shape), generator)
        for name, value in VideoDepthAnything(encoder).state_dict().items()
    }


@contextlib.contextmanager
def checkpoint_file(given: Path | None, encoder: str) -> Iterator[Path]:
    """The checkpoint that was named, or a temporary one with random weights, drawn by another process."""
    if given is not None:
        if not given.is_file():
            raise CheckpointError(f"{given}: no such checkpoint; check --checkpoint")
        yield given
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"random_{encoder}.pth")
        subprocess.run([sys.executable, str(Path(__file__).resolve()), encoder, str(path)], check=True)
        yield path


if __name__ == "__main__":
    import torch

    torch.save(random_state_dict(sys.argv[1]), sys.argv[2])
