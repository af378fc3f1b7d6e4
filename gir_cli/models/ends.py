"""Where a picture is as dark or as bright as its numbers can say."""

from __future__ import annotations

from torch import Tensor

END = 0.5 / 255  # what is nearer to 0 or 1 is black or white


def ends(picture: Tensor) -> Tensor:
    """Return (N, 1, H, W): 1 where `picture` (N, C, H, W) is white in all channels, -1 where it is black, else 0.

    Bands, text and masks drawn over a picture are; hardly anything else is with so sharp an edge.
    """
    white = picture.amin(1, keepdim=True) >= 1 - END
    black = picture.amax(1, keepdim=True) <= END
    return white.to(picture.dtype) - black.to(picture.dtype)
