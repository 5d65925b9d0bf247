"""Exported files: ONNX by PyTorch's exporter, OpenVINO's format from that."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.export import Dim

from ..backends.load import with_half_weights
from ..config import PATCH_SIZE
from ..errors import OutputError, UsageError
from ..files import atomic_path
from ..video_depth import VideoDepthAnything
from ..windows import INFER_LEN
from .modules import StepModule, WindowModule

Format = Literal["onnx", "openvino"]
OPSET = 18
# A protocol buffer holds 2 GiB at most; weights that come near it lie in a file beside it.
MAX_INSIDE = 3 << 29
