"""From linear light to a camera's picture: exposure, white balance, effects, motion and sensor effects, JPEG."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from starter.scenes.world import LUMA

Floats = npt.NDArray[np.float32]


class CameraEffects:
    """One camera's character, the same over a clip; without faults if `clean`."""

    def __init__(self, rng: np.random.Generator, clean: bool) -> None:
        def fault(low: float, high: float, share: float) -> float:
            return float(rng.uniform(low, high) * (rng.random() < share))

        self.exposure, self.contrast, self.saturation, self.balance = 1.0, 1.2, 1.1, np.ones(3, np.float32)
        self.vignette = self.noise = self.blur = self.focus = self.shutter = self.glow = self.jpeg = 0.0
        if not clean:
            self.exposure = float(np.exp(rng.normal(0, 0.35)))
            self.balance = np.exp(rng.normal(0, 0.08, 3)).astype(np.float32)
            self.contrast, self.saturation = rng.uniform(0.9, 1.6), rng.uniform(0.5, 1.6)
            self.noise = float(np.exp(rng.uniform(np.log(0.002), np.log(0.04))))
            self.vignette, self.blur, self.focus = fault(0, 0.5, 0.5), fault(0.3, 1.3, 0.4), fault(0.5, 4, 0.12)
            self.shutter, self.glow, self.jpeg = fault(0, 0.6, 0.35), fault(0, 0.25, 0.4), fault(35, 96, 0.7)


def metered(colour: Floats) -> float:
    """The gain that brings a linear picture to a usual brightness."""
    luma = colour @ LUMA
    middle = float(np.exp(np.log(luma + 1e-3).mean()))
    return float(0.22 / max(0.6 * middle + 0.4 * float(luma.mean()), 1e-3))


def apply_effects(
    colour: Floats,
    depth: Floats,
    gain: float,
    effects: CameraEffects,
    flow: tuple[float, float],
    rng: np.random.Generator,
) -> npt.NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB of linear `colour`.

    Args:
        colour: (H, W, 3) linear light.
        depth: (H, W) metres, for the blur out of focus.
        gain: exposure of the clip, from `metered`.
        effects: the camera.
        flow: motion of the picture to the next frame in pixels (x, y), for motion blur.
        rng: draws the noise.
    """
    light = colour * np.float32(gain * effects.exposure) * effects.balance
    if effects.focus:
        light = _defocused(light, depth, effects)
    length = float(np.hypot(*flow)) * effects.shutter
    if length > 1:
        light = _array(cv2.filter2D(light, -1, _streak(flow, min(length, 25.0))))
    if effects.glow:
        bright = np.clip(light - 0.9, 0, 4)
        light = light + effects.glow * cv2.GaussianBlur(bright, (0, 0), 6)
    if effects.blur:
        light = _array(cv2.GaussianBlur(light, (0, 0), effects.blur))
    height, width = depth.shape
    if effects.vignette:
        y, x = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
        light = light * (1 - effects.vignette * ((x * x + y * y) / 2) ** 1.5).astype(np.float32)[..., None]
    if effects.noise:
        # Photon noise grows with the root of the light, read-out noise does not.
        grain = rng.standard_normal(light.shape, np.float32)
        light = light + grain * (effects.noise * (0.3 + np.sqrt(np.clip(light, 0, 1))))
    shown = _tone(light, effects)
    if effects.jpeg:
        coded = cv2.imencode(".jpg", shown[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(effects.jpeg)])[1]
        shown = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)[..., ::-1]
    return np.ascontiguousarray(shown)


def _array(picture: npt.ArrayLike) -> Floats:
    """OpenCV's results, whose type its stubs leave open, in float32."""
    return np.asarray(picture, np.float32)


def _tone(light: Floats, effects: CameraEffects) -> npt.NDArray[np.uint8]:
    """Linear light to sRGB-like bytes, with a soft shoulder for highlights."""
    bright = np.clip(light, 0, None)
    x = bright * (1 + bright / 4) / (1 + bright)  # after Reinhard 2002, white at 2
    x = np.clip(x * 1.25, 0, 1) ** np.float32(1 / 2.2)
    grey = (x @ LUMA)[..., None]
    x = grey + (x - grey) * np.float32(effects.saturation)
    x = (x - 0.5) * np.float32(effects.contrast) + 0.5
    return (np.clip(x, 0, 1) * 255 + 0.5).astype(np.uint8)


def _streak(flow: tuple[float, float], length: float) -> Floats:
    """A line-shaped blur kernel along `flow`."""
    half = int(np.ceil(length / 2))
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    direction = np.array(flow) / np.hypot(*flow) * length / 2
    start, end = (tuple(int(v) for v in np.round(half + sign * direction)) for sign in (-1, 1))
    cv2.line(kernel, start, end, 1.0, 1, cv2.LINE_AA)
    return kernel / kernel.sum()


def _defocused(light: Floats, depth: Floats, effects: CameraEffects) -> Floats:
    """Blur what is away from the middle disparity, with a few blur levels."""
    near = np.where(np.isfinite(depth), 1 / np.maximum(depth, 0.05), 0).astype(np.float32)
    centre = float(np.median(near))
    amount = np.clip(np.abs(near - centre) / max(float(near.max()) - float(near.min()), 1e-6) * effects.focus, 0, 3)
    levels = [light] + [cv2.GaussianBlur(light, (0, 0), s) for s in (1.0, 2.0, 3.5)]
    amount = cv2.blur(amount, (5, 5))
    out = np.zeros_like(light)
    for k, level in enumerate(levels):
        out += level * np.clip(1 - np.abs(amount - k), 0, 1)[..., None]
    return out
