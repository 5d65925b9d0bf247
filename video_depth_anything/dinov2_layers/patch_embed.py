"""From images to tokens."""

from __future__ import annotations

from torch import Tensor, nn

from ..util.blocks import StridedConv2d


class PatchEmbed(nn.Module):
    """Image (N, in_chans, H, W) to patch tokens (N, h * w, embed_dim)."""

    def __init__(self, img_size: int = 224, patch_size: int = 16, in_chans: int = 3, embed_dim: int = 768) -> None:
        super().__init__()
        self.img_size, self.patch_size = (img_size, img_size), (patch_size, patch_size)
        self.patches_resolution = (img_size // patch_size, img_size // patch_size)
        self.num_patches = self.patches_resolution[0] * self.patches_resolution[1]
        self.in_chans, self.embed_dim = in_chans, embed_dim
        self.proj = StridedConv2d(in_chans, embed_dim, kernel_size=patch_size, stride=patch_size)

    def forward(self, images: Tensor) -> Tensor:
        height, width = (int(side) for side in images.shape[-2:])
        if height % self.patch_size[0] or width % self.patch_size[1]:
            raise ValueError(f"image size {height}x{width} is not a multiple of {self.patch_size[0]}")
        return self.proj(images).flatten(2).transpose(1, 2)
