"""What training makes small: functions of (restored, clean), batches (N, 3, H, W) in [0, 1], fp32."""

from __future__ import annotations

import torch
from torch import Tensor

from gir_cli.features import Features
from gir_cli.train.settings import Settings


def l1(restored: Tensor, clean: Tensor) -> Tensor:
    """Mean absolute error."""
    return (restored - clean).abs().mean()


def charbonnier(restored: Tensor, clean: Tensor) -> Tensor:
    """Mean of sqrt(d² + 0.01²): square near zero, absolute far off (Charbonnier et al., 1994)."""
    return ((restored - clean).square() + 1e-4).sqrt().mean()


def mse(restored: Tensor, clean: Tensor) -> Tensor:
    """Mean squared error."""
    return (restored - clean).square().mean()


def psnr(restored: Tensor, clean: Tensor, floor: float = 1e-3) -> Tensor:
    """Mean over images of log(mse + floor), which is the negative PSNR up to a factor (Chen et al., 2022).

    Images that are badly degraded do not drown the others, as they do in the mean of mse. The constant
    is what mse is at 30 dB: with a smaller one images that are nearly clean take over, and a network
    that does nothing is hard to leave.
    """
    return (((restored - clean).square().mean((1, 2, 3)) + floor).log()).mean() / 10


def psnr40(restored: Tensor, clean: Tensor) -> Tensor:
    """`psnr` with the floor at 40 dB, to finish a network by: what it does to nearly clean images counts too."""
    return psnr(restored, clean, 1e-4)


def fft(restored: Tensor, clean: Tensor) -> Tensor:
    """Mean absolute error of the Fourier transforms, real and imaginary parts apart (Cho et al., 2021).

    The transform is orthonormal, so that its values are of the pixels' size.
    """
    return torch.view_as_real(torch.fft.rfft2(restored - clean, norm="ortho")).abs().mean()


def perceptual(classifier: Features, restored: Tensor, clean: Tensor) -> Tensor:
    """Mean absolute error of a classifier's features, its five stages counting alike (after Johnson et al., 2016)."""
    with torch.no_grad():
        wanted = list(classifier(clean))
    pairs = zip(classifier(restored), wanted, strict=True)
    return torch.stack([l1(found.float(), truth.float()) for found, truth in pairs]).mean()


LOSSES = {"l1": l1, "charbonnier": charbonnier, "mse": mse, "psnr": psnr, "psnr40": psnr40}


def loss(settings: Settings, restored: Tensor, clean: Tensor, classifier: Features | None = None) -> Tensor:
    """Return the loss that `settings` asks for, a scalar; `classifier` is its perceptual backbone."""
    value = LOSSES[settings.loss](restored, clean)
    if settings.fft:
        value = value + settings.fft * fft(restored, clean)
    if classifier is not None:
        value = value + settings.perceptual * perceptual(classifier, restored, clean)
    return value
