"""Metrics agree with the definitions, written out here, and with scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from gir_cli.metrics import METRICS, quantised

skimage_metrics = pytest.importorskip("skimage.metrics")


def pair(photograph, height, width, seed=0):
    """Return a clean and a worse crop, uint8."""
    clean = photograph[40 : 40 + height, 90 : 90 + width]
    noise = np.random.RandomState(seed).normal(0, 18, clean.shape)
    return clean, np.clip(np.rint(clean * 0.9 + noise), 0, 255).astype(np.uint8)


def as_levels(values):
    """Return uint8 values as the metrics take them."""
    return quantised(values.astype(np.float32) / 255)


def measured(name, clean, worse):
    return METRICS[name](as_levels(worse), as_levels(clean))


def defined_psnr(x, y, peak=255.0):
    total = sum((float(a) - float(b)) ** 2 for a, b in zip(x.ravel(), y.ravel(), strict=True))
    return 10 * np.log10(peak**2 / (total / x.size))


def defined_y(values):
    """Return luma of uint8 RGB on its scale from 16 to 235."""
    red, green, blue = (values[..., channel] / 255.0 for channel in range(3))
    return 16 + 65.481 * red + 128.553 * green + 24.966 * blue


def window():
    offsets = np.arange(11) - 5
    line = np.exp(-(offsets**2) / (2 * 1.5**2))
    whole = np.outer(line, line)
    return whole / whole.sum()


def defined_terms(x, y, peak=255.0):
    """Return the luminance and contrast-structure terms of one plane, window by window."""
    a, b = (sliding_window_view(plane.astype(float), (11, 11)) for plane in (x, y))
    w = window()
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    mean_a, mean_b = (np.einsum("ijkl,kl->ij", v, w) for v in (a, b))
    off_a, off_b = a - mean_a[..., None, None], b - mean_b[..., None, None]
    var_a, var_b, cov = (np.einsum("ijkl,kl->ij", v, w) for v in (off_a**2, off_b**2, off_a * off_b))
    light = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return light, (2 * cov + c2) / (var_a + var_b + c2)


def defined_ssim(x, y):
    light, structure = defined_terms(x, y)
    return (light * structure).mean()


def defined_ms_ssim(x, y):
    result = 1.0
    for level, weight in enumerate([0.0448, 0.2856, 0.3001, 0.2363, 0.1333]):
        light, structure = defined_terms(x, y)
        result *= ((light * structure).mean() if level == 4 else structure.mean()) ** weight
        x, y = pooled(x), pooled(y)
    return result


def pooled(plane):
    """Return what avg_pool2d(plane, 2, padding=(height % 2, width % 2)) gives, zeros counted."""
    rows, columns = (range(-(side % 2), side - 1, 2) for side in plane.shape)
    at = np.pad(plane, 1)
    return np.array([[at[i + 1 : i + 3, j + 1 : j + 3].mean() for j in columns] for i in rows])


def test_psnr_is_as_defined(photograph):
    clean, worse = pair(photograph, 19, 23)
    assert measured("psnr", clean, worse) == pytest.approx(defined_psnr(clean, worse), abs=1e-9)
    luma = defined_psnr(defined_y(clean), defined_y(worse))
    assert measured("psnr-y", clean, worse) == pytest.approx(luma, abs=1e-9)


def test_mae_is_as_defined(photograph):
    clean, worse = pair(photograph, 19, 23)
    assert measured("mae", clean, worse) == pytest.approx(np.abs(clean.astype(float) - worse).mean(), abs=1e-9)


@pytest.mark.parametrize("shape", [(11, 11), (12, 29), (64, 47)], ids=str)
def test_ssim_is_as_defined(photograph, shape):
    clean, worse = pair(photograph, *shape)
    channels = [defined_ssim(clean[..., channel], worse[..., channel]) for channel in range(3)]
    assert measured("ssim", clean, worse) == pytest.approx(np.mean(channels), abs=1e-9)
    luma = defined_ssim(defined_y(clean), defined_y(worse))
    assert measured("ssim-y", clean, worse) == pytest.approx(luma, abs=1e-9)


@pytest.mark.parametrize("shape", [(161, 163), (176, 192)], ids=str)
def test_ms_ssim_is_as_defined(photograph, shape):
    clean, worse = pair(photograph, *shape)
    channels = [defined_ms_ssim(*(v[..., channel].astype(float) for v in (clean, worse))) for channel in range(3)]
    assert measured("ms-ssim", clean, worse) == pytest.approx(np.mean(channels), abs=1e-9)


def test_psnr_and_ssim_agree_with_scikit_image(photograph):
    clean, worse = pair(photograph, 200, 280)
    assert measured("psnr", clean, worse) == pytest.approx(
        skimage_metrics.peak_signal_noise_ratio(clean, worse, data_range=255), abs=1e-6
    )
    _, everywhere = skimage_metrics.structural_similarity(
        clean,
        worse,
        data_range=255,
        channel_axis=2,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    # Its window reaches 5 pixels as ours does (truncate 3.5): only its reflected border differs.
    assert measured("ssim", clean, worse) == pytest.approx(everywhere[5:-5, 5:-5].mean(), abs=1e-9)


def test_full_range_luma_would_be_told_apart(photograph):
    clean, worse = pair(photograph, 64, 64)
    gray = np.array([0.299, 0.587, 0.114])
    full = defined_psnr(clean @ gray, worse @ gray)
    assert measured("psnr-y", clean, worse) - full == pytest.approx(20 * np.log10(255 / 219), abs=1e-3)


def test_ms_ssim_of_opposites_is_zero_and_not_complex(photograph):
    clean = photograph[:, :256]
    assert measured("ms-ssim", clean, 255 - clean) == 0.0
