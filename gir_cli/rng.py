"""Addressed random streams: what is drawn depends on a name, never on what was drawn before.

Images use `stream`: numpy's RandomState, whose distributions are frozen for ever, over the raw bits
of SFC64, which are too; so a seed means the same pixels on every version of numpy. (Over its usual
Mersenne Twister normal draws take half as long again.) Training crops use `quick_stream`, faster
still but only stable within a version of numpy. Operators take either; they use `uniform`,
`standard_normal`, `poisson` and the functions below, which both kinds share.
"""

from __future__ import annotations

import hashlib
from typing import TypeAlias

import numpy as np

Rng: TypeAlias = np.random.RandomState | np.random.Generator


def _words(address: tuple[object, ...]) -> np.ndarray:
    """Return 8 uint32 words: the SHA-256 of the address's parts joined by '|'."""
    text = "|".join(str(part) for part in address)
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
    return np.frombuffer(digest, dtype="<u4")


def stream(*address: object) -> np.random.RandomState:
    """Return the frozen random stream at `address`, such as (seed, path)."""
    return np.random.RandomState(np.random.SFC64(_words(address).tolist()))


def quick_stream(*address: object) -> np.random.Generator:
    """Return a fast random stream at `address`, such as (seed, "train", index)."""
    return np.random.Generator(np.random.SFC64(_words(address).tolist()))


def seed_of(*address: object) -> int:
    """Return the whole number in [0, 2^63) at `address`, for generators that are seeded with one."""
    return int.from_bytes(_words(address)[:2].tobytes(), "little") >> 1


def normal(rng: Rng, shape: tuple[int, ...]) -> np.ndarray:
    """Return standard normal draws, float32."""
    if isinstance(rng, np.random.Generator):
        return rng.standard_normal(shape, dtype=np.float32)
    return rng.standard_normal(shape).astype(np.float32)


def uniform(rng: Rng, shape: tuple[int, ...]) -> np.ndarray:
    """Return draws that are uniform in [0, 1], float32; rounding may reach 1."""
    if isinstance(rng, np.random.Generator):
        return rng.random(shape, dtype=np.float32)
    return rng.random_sample(shape).astype(np.float32)


def below(rng: Rng, count: int) -> int:
    """Return a whole number that is uniform in [0, count)."""
    return min(int(rng.uniform(0.0, count)), count - 1)
