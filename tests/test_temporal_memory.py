"""The stream's memory on devices that are not a CPU, tried on a CPU."""

from __future__ import annotations

import torch

from video_depth_anything.temporal_memory import (
    ContextEntries,
    TemporalMemory,
    context_entries,
    context_entries_on_device,
)
from video_depth_anything.video_depth import VideoDepthAnything


class DeviceMemory(TemporalMemory):
    """Takes the way of devices that are not a CPU: entries as a tensor."""

    def next_entries(self, device: torch.device) -> ContextEntries:
        if self.frames_seen == 0:
            return context_entries(0)
        if self.position is None:
            self.position = torch.tensor(self.frames_seen, device=device)
        return context_entries_on_device(self.position)


def test_entries_on_a_device_are_the_same() -> None:
    for frame in (1, 2, 28, 29, 30, 41, 42, 43, 84, 1000):
        assert context_entries_on_device(torch.tensor(frame)).tolist() == list(context_entries(frame))


@torch.inference_mode()
def test_attention_on_a_device_is_the_same(golden_model: VideoDepthAnything) -> None:
    host, device = TemporalMemory(), DeviceMemory()
    generator = torch.Generator().manual_seed(0)
    for index in range(46):
        features = golden_model.encode(torch.randn(1, 3, 28, 28, generator=generator))
        if index == 44:
            # What recording a graph does: run the same frame several times.
            for _ in range(2):
                golden_model.step(features, device)
                device.rewind(44)
        expected = golden_model.step(features, host)
        found = golden_model.step(features, device)
        assert (found - expected).abs().max() <= 1e-4 * expected.abs().max(), index
    assert device.frames_seen == 46
    assert int(device.position or 0) == 46
