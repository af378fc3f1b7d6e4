"""Colour: between sRGB values and linear light, and luma."""

from __future__ import annotations

import cv2
import numpy as np


def to_linear(pixels: np.ndarray) -> np.ndarray:
    """Return linear light for sRGB `pixels` (float32, any shape; IEC 61966-2-1). Negative values are taken as 0."""
    pixels = np.maximum(pixels, np.float32(0))
    curve = cv2.pow((pixels + np.float32(0.055)) / np.float32(1.055), 2.4)
    return np.where(pixels <= 0.04045, pixels / np.float32(12.92), curve.reshape(pixels.shape))


def to_srgb(light: np.ndarray) -> np.ndarray:
    """Return sRGB values for linear `light` (float32, any shape), the inverse of `to_linear`."""
    light = np.maximum(light, np.float32(0))
    curve = np.float32(1.055) * cv2.pow(light, 1 / 2.4).reshape(light.shape) - np.float32(0.055)
    return np.where(light <= 0.0031308, light * np.float32(12.92), curve)


def luma(pixels: np.ndarray) -> np.ndarray:
    """Return the full-range BT.601 luma (H, W) of RGB `pixels` (H, W, 3); of gray ones (H, W, 1) themselves."""
    if pixels.shape[2] == 1:
        return pixels[..., 0]
    return pixels @ np.array([0.299, 0.587, 0.114], dtype=np.float32)


def video_luma(pixels: np.ndarray) -> np.ndarray:
    """Return the studio-range BT.601 luma (H, W, 1) of RGB `pixels` (H, W, 3): 16/255 for black, 235/255 for white.

    Y = 16 + 65.481 R + 128.553 G + 24.966 B over 255, not rounded: what super-resolution is scored on.
    """
    weights = np.array([65.481, 128.553, 24.966], dtype=pixels.dtype)
    return ((pixels @ weights + 16) / 255)[..., None]
