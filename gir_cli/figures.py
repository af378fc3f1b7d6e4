"""Things drawn on clean photographs in training, that damage is not to be taken for: what is thin, bright and regular.

Photographs hold few strings of beads, joints of bricks, blinds, wires, veins and lettering, and a network that takes
rain and bands away takes them for more of the same. Drawn in numbers, they are to teach it what rain and bands are not
(weights/README.md says how far they do): of rain, that streaks are short, straight, soft and alike; of bands, that
they are straight, white or black to the last level, and jagged at their edges. No figure is all that.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from gir_cli.rng import Rng, below, normal

FINER = 4  # times finer is the mask that figures are drawn in, so that their edges are smooth
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
DARKEST, LIGHTEST = 8, 247  # levels of figures, but for those that are overexposed


def drawn(clean: np.ndarray, rng: Rng) -> np.ndarray:
    """Return photograph `clean`, uint8 (H, W, 3), with one to three kinds of figures on it, each in one colour."""
    pixels = clean.astype(np.float32)
    for _ in range(1 + below(rng, 3)):
        mask = np.zeros((FINER * clean.shape[0], FINER * clean.shape[1]), np.uint8)
        FIGURES[below(rng, len(FIGURES))](mask, rng)
        if rng.uniform() < 0.5:
            mask = np.where(_spot(mask.shape, rng), mask, 0).astype(np.uint8)
        cover = cv2.resize(mask, clean.shape[1::-1], interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        if rng.uniform() < 0.5:
            cover = cv2.GaussianBlur(cover, (0, 0), rng.uniform(0.3, 0.8))
        share = cover[..., None] * np.float32(rng.uniform(0.4, 1))
        pixels += share * (_colour(rng) * _light(clean.shape, rng) - pixels)
    return np.rint(pixels.clip(0, 255)).astype(np.uint8)


def _beads(mask: np.ndarray, rng: Rng) -> None:
    """Dots along curves that run side by side."""
    radius = FINER * rng.uniform(0.7, 3)
    step, apart = radius * rng.uniform(2.1, 4), radius * rng.uniform(2, 6)
    path = _curve(mask.shape, rng, step)
    across = apart * _normals(path)
    for strand in range(1 + below(rng, 8)):
        for x, y in path + strand * across:
            _dot(mask, x, y, radius)


def _bricks(mask: np.ndarray, rng: Rng) -> None:
    """Joints of bricks or tiles, in any direction."""
    wide, high = FINER * _between(rng, 8, 120), FINER * _between(rng, 4, 40)
    thick, shifted = FINER * _between(rng, 0.6, min(5, high / FINER / 3)), rng.uniform() < 0.7
    half = float(max(mask.shape))
    rows = np.arange(-half, half, high)
    columns = np.arange(-half, half, wide)
    lines = [((-half, y), (half, y)) for y in rows]
    for row, y in enumerate(rows):
        move = wide / 2 * (row % 2) if shifted else 0.0
        lines += [((x + move, y), (x + move, y + high)) for x in columns]
    _lines(mask, np.array(lines), rng.uniform(-0.4, 0.4) + (np.pi / 2 if rng.uniform() < 0.5 else 0), thick)


def _bars(mask: np.ndarray, rng: Rng) -> None:
    """Parallel lines at even distances, as of blinds, fences, masonry and the legs of tripods."""
    apart = FINER * _between(rng, 2.5, 80)
    half = float(max(mask.shape))
    lines = [((-half, y), (half, y)) for y in np.arange(-half, half, apart)]
    _lines(mask, np.array(lines), rng.uniform(0, np.pi), min(apart * rng.uniform(0.15, 0.5), FINER * rng.uniform(1, 8)))


def _panes(mask: np.ndarray, rng: Rng) -> None:
    """Frames and bars of windows in rows, or the timber of a house."""
    wide = FINER * rng.uniform(6, 40)
    high = wide * rng.uniform(0.7, 2.5)
    across, up = 1 + below(rng, 4), 1 + below(rng, 5)
    bars = [((x, 0.0), (x, high)) for x in np.linspace(0, wide, across + 1)]
    bars += [((0.0, y), (wide, y)) for y in np.linspace(0, high, up + 1)]
    half = float(max(mask.shape))
    corners = np.stack(
        np.meshgrid(
            np.arange(-half, half, wide * rng.uniform(1.1, 3)), np.arange(-half, half, high * rng.uniform(1, 3))
        ),
        -1,
    )
    lines = (np.array(bars) + corners.reshape(-1, 1, 1, 2)).reshape(-1, 2, 2)
    _lines(mask, lines, rng.uniform(-0.3, 0.3), FINER * rng.uniform(0.7, 3))


def _veins(mask: np.ndarray, rng: Rng) -> None:
    """Curves side by side, as of a leaf, of furrows, folds and rails."""
    path, apart = _curve(mask.shape, rng, 4.0 * FINER), FINER * rng.uniform(4, 30)
    thick = FINER * rng.uniform(0.6, 2.5)
    for strand in range(2 + below(rng, 10)):
        _path(mask, path + (strand - 2) * apart * rng.uniform(0.8, 1.2) * _normals(path), thick)


def _wires(mask: np.ndarray, rng: Rng) -> None:
    """Curves from side to side, some with branches, as veins have."""
    branched = rng.uniform() < 0.5
    for _ in range(1 + below(rng, 4)):
        path, thick = _curve(mask.shape, rng, 4.0 * FINER), FINER * rng.uniform(0.6, 2.5)
        _path(mask, path, thick)
        if not branched:
            continue
        across, lean, length = _normals(path), rng.uniform(0.3, 1.5), FINER * rng.uniform(10, 50)
        along = np.stack([across[:, 1], -across[:, 0]], 1)
        for place in range(0, len(path), 1 + below(rng, 4)):
            for side in (-1, 1):
                bend = np.linspace(0, 1, 6)[:, None] * length
                twig = path[place] + bend * side * across[place] + lean * bend**1.3 / length**0.3 * along[place]
                _path(mask, twig, thick * 0.6)


def _letters(mask: np.ndarray, rng: Rng) -> None:
    """Lines of lettering."""
    font, size = below(rng, 8), FINER * rng.uniform(0.25, 1)
    thick = max(1, round(FINER * rng.uniform(0.6, 2.5)))
    y = FINER * rng.uniform(5, 40)
    while y < mask.shape[0]:
        text = "".join(LETTERS[below(rng, len(LETTERS))] if rng.uniform() < 0.85 else " " for _ in range(30))
        x = round(rng.uniform(-0.5, 0.3) * mask.shape[1])
        cv2.putText(mask, text, (x, round(y)), font, size, 255, thick, cv2.LINE_8)
        y += 30 * size * rng.uniform(1, 2.5)


FIGURES: tuple[Callable[[np.ndarray, Rng], None], ...] = (_beads, _bricks, _bars, _panes, _veins, _wires, _letters)


def _between(rng: Rng, low: float, high: float) -> float:
    """Return a number between two, uniform in its logarithm: small things and large ones."""
    return float(low * (high / low) ** rng.uniform())


def _curve(shape: tuple[int, ...], rng: Rng, step: float) -> np.ndarray:
    """Return points (N, 2), x and y, some `step` apart on a smooth curve through the picture."""
    count = max(8, int(2 * max(shape) / step))
    bend = cv2.GaussianBlur(normal(rng, (count, 1)), (1, 31), 0, sigmaY=5)[:, 0]
    turns = np.cumsum(bend) * step / FINER * rng.uniform(0, 0.08) + rng.uniform(0, 2 * np.pi)
    path = np.cumsum(step * np.stack([np.cos(turns), np.sin(turns)], 1), 0)
    through = np.array([rng.uniform(0, shape[1]), rng.uniform(0, shape[0])])
    return path - path[count // 2] + through


def _normals(path: np.ndarray) -> np.ndarray:
    """Return the unit vectors (N, 2) across a path."""
    along = np.gradient(path, axis=0)
    along /= np.hypot(*along.T)[:, None] + 1e-6
    return np.stack([-along[:, 1], along[:, 0]], 1)


def _dot(mask: np.ndarray, x: float, y: float, radius: float) -> None:
    if -radius < x < mask.shape[1] + radius and -radius < y < mask.shape[0] + radius:
        cv2.circle(mask, (round(x), round(y)), max(1, round(radius)), 255, cv2.FILLED)


def _path(mask: np.ndarray, path: np.ndarray, thick: float) -> None:
    cv2.polylines(mask, [np.rint(path).astype(np.int32)], False, 255, max(1, round(thick)))


def _lines(mask: np.ndarray, lines: np.ndarray, angle: float, thick: float) -> None:
    """Draw `lines` (N, 2, 2), points from the middle of `mask`, turned by `angle`."""
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    placed = np.rint(lines @ turn + np.array(mask.shape[1::-1]) / 2).astype(np.int32)
    cv2.polylines(mask, list(placed), False, 255, max(1, round(thick)))


def _spot(shape: tuple[int, ...], rng: Rng) -> np.ndarray:
    """Return where a random turned ellipse lies, bool (H, W)."""
    spot = np.zeros(shape, np.uint8)
    centre = (round(rng.uniform(0.2, 0.8) * shape[1]), round(rng.uniform(0.2, 0.8) * shape[0]))
    axes = (round(rng.uniform(0.15, 0.6) * shape[1]), round(rng.uniform(0.1, 0.5) * shape[0]))
    cv2.ellipse(spot, centre, axes, rng.uniform(0, 180), 0, 360, 255, cv2.FILLED)
    return spot > 0


def _colour(rng: Rng) -> np.ndarray:
    """Return a colour in levels: as often as not overexposed, nearly white or nearly black, else any."""
    kind = rng.uniform()
    if kind < 0.2:
        return np.full(3, rng.uniform(250, 400), np.float32)
    if kind < 0.5:
        level = rng.uniform(190, LIGHTEST) if kind < 0.35 else rng.uniform(DARKEST, 60)
        found = level + 6 * normal(rng, (3,))
    else:
        found = rng.uniform(0, 255, 3)
    return found.clip(DARKEST, LIGHTEST).astype(np.float32)


def _light(shape: tuple[int, ...], rng: Rng) -> np.ndarray:
    """Return a factor (H, W, 1) up to 1 that changes slowly, as light on things does."""
    low = np.float32(rng.uniform(0.5, 1))
    coarse = low + (1 - low) * rng.uniform(0, 1, (3, 3)).astype(np.float32)
    return cv2.resize(coarse, shape[1::-1], interpolation=cv2.INTER_LINEAR)[..., None]
