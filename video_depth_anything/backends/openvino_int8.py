"""The encoder in eight-bit integers, by post-training quantisation with NNCF.

Value ranges are measured on a few frames (calibration). They hardly depend on the size of the picture, so this is done
once per checkpoint, at a small size, cached on disk, and used for all sizes.

Linear layers, two thirds of the work, become integers, after SmoothQuant (Xiao et al., arXiv:2211.10438) has evened out
their inputs. Parts that lose most, or gain nothing, stay unchanged: attention, whose probabilities are nearly all
smaller than one 8-bit step, and the convolutions before and after the blocks, with half of the error and a twentieth of
the time.
"""

from __future__ import annotations

import hashlib
import io
import logging
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stdout
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino as ov
import torch
from openvino._offline_transformations import apply_moc_transformations
from torch import nn

from ..device import openvino_core
from ..files import whole_file
from ..frame_features import FrameFeatures
from ..transform import Image, preprocess
from ..version import __version__

logger = logging.getLogger(__name__)

Size = tuple[int, int]

# Height and width of calibration frames: as good as full size, in a tenth of the time.
CALIBRATION_SIZE: Size = (140, 252)
# Another size, to find the constants that depend on it.
_OTHER_SIZE: Size = (210, 392)
# How far SmoothQuant moves outliers from inputs to weights, 0 to 1: of .5 to .85 this had the smallest depth error.
SMOOTHING = 0.6
_SIZE_MARK = "constant of a size, number "


class Int8Encoder:
    """An 8-bit encoder for any input size, made from the float model that `convert` makes for images (1, H, W, 3).

    The weights of `network` identify it in the cache.
    """

    def __init__(self, network: nn.Module, convert: Callable[[Size], ov.Model]) -> None:
        import platformdirs

        self._convert = convert
        self._file = platformdirs.user_cache_path("video-depth-anything") / f"int8_{_fingerprint(network)}.zip"
        self._calibrated: ov.Model | None = None

    def calibrate(self, frames: Callable[[], Iterable[Image]]) -> None:
        """Load the cached model, or calibrate one on `frames` (H, W, 3) RGB and cache it."""
        self._calibrated = self._calibrated or _load(self._file)
        if self._calibrated is not None:
            return
        chosen = [preprocess(frame, CALIBRATION_SIZE).transpose(1, 2, 0)[None].copy() for frame in frames()]
        if not chosen:
            raise ValueError("no frames to calibrate with")
        logger.info("calibrating the network for int8 on %d frames, once for these weights", len(chosen))
        start = time.monotonic()
        self._calibrated = _quantise(self._convert, chosen)
        kept = _keep(self._calibrated, self._file)
        logger.info("calibrated in %.0f s%s", time.monotonic() - start, f"; saved to {self._file}" if kept else "")

    def at(self, size: Size) -> ov.Model:
        """The 8-bit model for an input size."""
        if self._calibrated is None:
            raise RuntimeError("precision int8 needs frames to calibrate with; give them to load_backend")
        constants = _constants(_folded(self._convert(size)))
        model = self._calibrated.clone()
        for node in _constants(model):
            if node.get_friendly_name().startswith(_SIZE_MARK):
                fitting = constants[int(node.get_friendly_name().removeprefix(_SIZE_MARK))]
                value = ov.opset1.constant(np.array(fitting.data), fitting.get_element_type())
                node.output(0).replace(value.output(0))
        model.get_parameters()[0].set_partial_shape(ov.PartialShape([1, *size, 3]))
        model.validate_nodes_and_infer_types()
        return model


def _quantise(convert: Callable[[Size], ov.Model], images: Sequence[npt.NDArray[np.float32]]) -> ov.Model:
    """The 8-bit model at `CALIBRATION_SIZE`, the size of `images` (1, H, W, 3); constants of that size are marked."""
    # Importing NNCF makes PyTorch look for CUDA's compiler, and report that there is none.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    import nncf
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, AdvancedSmoothQuantParameters

    model = _folded(convert(CALIBRATION_SIZE))
    others = _constants(_folded(convert(_OTHER_SIZE)))
    for number, (node, other) in enumerate(zip(_constants(model), others, strict=True)):
        if node.data.shape != other.data.shape or not np.array_equal(node.data, other.data):
            node.set_friendly_name(f"{_SIZE_MARK}{number}")
    logging.getLogger("nncf").setLevel(logging.ERROR)  # NNCF's own function would also silence other loggers
    advanced = AdvancedQuantizationParameters(
        disable_bias_correction=True,  # it did not help
        smooth_quant_alphas=AdvancedSmoothQuantParameters(matmul=SMOOTHING),
    )
    # NNCF shows progress on standard output, which may carry depth.
    with redirect_stdout(io.StringIO()):
        return nncf.quantize(
            model,
            nncf.Dataset(images),
            model_type=nncf.ModelType.TRANSFORMER,
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(images),
            ignored_scope=nncf.IgnoredScope(types=["Convolution"]),
            advanced_parameters=advanced,
        )


def _folded(model: ov.Model) -> ov.Model:
    """Replace transposed weights by constants: only products with constants are computed in integers."""
    apply_moc_transformations(model, cf=True)
    return model


def _constants(model: ov.Model) -> list[Any]:
    return [node for node in model.get_ordered_ops() if node.get_type_name() == "Constant"]


def _fingerprint(network: nn.Module) -> str:
    """Hash the weights, and everything else that the calibrated model depends on."""
    versions = (__version__, torch.__version__, ov.__version__, version("nncf"))
    piece = (FrameFeatures._fields, CALIBRATION_SIZE, SMOOTHING)
    digest = hashlib.sha256(repr((versions, piece)).encode())
    for name, value in network.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:32]


def _keep(model: ov.Model, file: Path) -> bool:
    """Write a model to one file, whose checksums tell whether it is whole; False if that cannot be done."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=file.parent, prefix=".partial_") as folder:
            parts = Path(folder)
            ov.serialize(model, parts / "model.xml", parts / "model.bin")
            with whole_file(file) as path, zipfile.ZipFile(path, "w") as archive:
                for name in ("model.xml", "model.bin"):
                    archive.write(parts / name, name)
    except OSError as error:
        logger.warning("the calibrated model cannot be saved to %s: %s", file.parent, error.strerror or error)
        return False
    return True


def _load(file: Path) -> ov.Model | None:
    """The model of that file; None if there is none, or a damaged one."""
    try:
        with zipfile.ZipFile(file) as archive:  # checks what it reads
            description, weights = archive.read("model.xml"), archive.read("model.bin")
        return openvino_core().read_model(io.BytesIO(description), io.BytesIO(weights))
    except FileNotFoundError:
        return None
    except (OSError, KeyError, EOFError, zipfile.BadZipFile, RuntimeError):
        logger.warning("%s is damaged and will be made again", file)
        return None
