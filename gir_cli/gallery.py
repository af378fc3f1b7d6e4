"""A contact sheet: every operator at three strengths on one picture."""

from __future__ import annotations

import cv2
import numpy as np

from gir_cli.chain import Step
from gir_cli.ops import OPERATORS, physical_order
from gir_cli.params import params_of
from gir_cli.resize import resized
from gir_cli.rng import stream

MARGIN = 4
BAR = 20  # height of a label
PAPER, INK = 255, 0


def gallery(pixels: np.ndarray, seed: int = 0, side: int = 288, across: int = 2) -> np.ndarray:
    """Return a sheet, float32 (H, W, 3) in [0, 1], of `pixels` (H, W, 3 or 1) under every operator.

    The untouched picture comes first, then the operators in physical order, `across` of them in a
    row, each at its three strengths and labelled with the chain that made it. Longer sides than
    `side` pixels are shrunk to it before anything else.
    """
    clean = _shrunk(pixels, side)
    names = sorted(OPERATORS, key=physical_order)
    cells = [np.concatenate(_tiles(clean, name, seed), 1) for name in names]
    cells += [np.ones_like(cells[0])] * (-len(cells) % across)
    rows = [np.concatenate(cells[first : first + across], 1) for first in range(0, len(cells), across)]
    head = np.ones_like(rows[0])
    title = _tile(clean, "clean", clean.shape[1])
    head[:, : title.shape[1]] = title
    return np.concatenate([head, *rows])


def _shrunk(pixels: np.ndarray, side: int) -> np.ndarray:
    height, width = pixels.shape[:2]
    scale = min(side / max(height, width), 1.0)
    return resized(pixels, max(round(width * scale), 1), max(round(height * scale), 1))


def _tiles(clean: np.ndarray, name: str, seed: int) -> list[np.ndarray]:
    """Return a tile for each of the three strengths that operator `name` shows itself at."""
    strength = next(iter(params_of(OPERATORS[name])))
    tiles = []
    for value in OPERATORS[name].shown:
        shown = Step(name, {strength: value})
        # One stream for all three: what is drawn stays, what grows is the strength.
        rng = stream(seed, "gallery", name)
        tiles.append(_tile(shown.draw(rng)(clean, rng), str(shown), clean.shape[1]))
    return tiles


def _tile(pixels: np.ndarray, label: str, width: int) -> np.ndarray:
    """Return `pixels` as colour under a bar with `label`, at least wide enough to read it, with a margin."""
    colour = np.broadcast_to(np.clip(pixels, 0, 1), (*pixels.shape[:2], 3))
    bar = np.full((BAR, max(width, 8 * BAR) + MARGIN), PAPER, dtype=np.uint8)
    cv2.putText(bar, label, (1, BAR - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.45, INK, 1, cv2.LINE_AA)
    tile = np.full((BAR + len(colour) + MARGIN, bar.shape[1], 3), 1, dtype=np.float32)
    tile[:BAR] = bar[..., None] / np.float32(255)
    tile[BAR : BAR + len(colour), : colour.shape[1]] = colour
    return tile
