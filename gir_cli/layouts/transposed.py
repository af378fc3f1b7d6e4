"""What the layouts of Restormer, PromptIR and X-Restormer share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from gir_cli.layouts.official import blocks, counts, spelled
from gir_cli.layouts.shapes import Shapes, check_heads, conv, inside, norm, repeated

USUAL = 2.66  # factor of channels in the feed-forward half
LEVELS = ("encoder_level1", "encoder_level2", "encoder_level3", "latent")


def pixel_norm(name: str, width: int, kind: str) -> Shapes:
    """Return the tensors of a normalisation of `kind` 'with-bias' or 'bias-free'."""
    return norm(f"{name}.body", width, bias=kind == "with-bias")


def channel_attention(name: str, width: int, heads: int, *, bias: bool) -> Shapes:
    """Return the tensors of attention between channels."""
    check_heads(width, heads)
    return {f"{name}.temperature": (heads, 1, 1)} | inside(
        name,
        conv("qkv", width, 3 * width, 1, bias=bias)
        | conv("qkv_dwconv", 1, 3 * width, bias=bias)
        | conv("project_out", width, width, 1, bias=bias),
    )


def gated(name: str, width: int, factor: float, *, bias: bool) -> Shapes:
    """Return the tensors of a feed-forward half whose channels gate each other."""
    hidden = int(width * factor)
    return inside(
        name,
        conv("project_in", width, 2 * hidden, 1, bias=bias)
        | conv("dwconv", 1, 2 * hidden, bias=bias)
        | conv("project_out", hidden, width, 1, bias=bias),
    )


def transposed_block(width: int, heads: int, factor: float, kind: str, *, bias: bool) -> Shapes:
    """Return the tensors of a Restormer's block."""
    return (
        pixel_norm("norm1", width, kind)
        | channel_attention("attn", width, heads, bias=bias)
        | pixel_norm("norm2", width, kind)
        | gated("ffn", width, factor, bias=bias)
    )


def pyramid(width: int, numbers: str, refinement: int, block: Callable[[int, int], Shapes], *, bias: bool) -> Shapes:
    """Return the tensors of four levels, down and up again, between the first convolution and the last.

    `numbers` are the blocks of each level; `block` gives the tensors of one, by its channels and its level.
    """
    down = counts(numbers, length=4)
    made: Shapes = {}
    for level, name in enumerate(LEVELS):
        made |= repeated(name, down[level], block(width << level, level))
    for level in range(3):
        inner = width << level
        made |= conv(f"down{level + 1}_{level + 2}.body.0", inner, inner // 2, bias=False)
        made |= conv(f"up{level + 2}_{level + 1}.body.0", 2 * inner, 4 * inner, bias=False)
        # At full size both halves stay; below, they are brought together.
        made |= conv(f"reduce_chan_level{level + 1}", 2 * inner, inner, 1, bias=bias) if level else {}
        made |= repeated(f"decoder_level{level + 1}", down[level], block(inner if level else 2 * inner, level))
    return made | repeated("refinement", refinement, block(2 * width, 0))


def shared_sizes(shapes: Shapes, attention: str, feed: str) -> dict[str, Any]:
    """Return the sizes that the three networks have in common, by the names of their blocks' parts."""
    width, channels = shapes["patch_embed.proj.weight"][:2]
    kernels = [shapes[f"{level}.0.{feed}.project_out.weight"] for level in LEVELS]
    return {
        "width": width,
        "blocks": spelled(blocks(shapes, f"{level}.") for level in LEVELS),
        "refinement": blocks(shapes, "refinement."),
        "factor": expansion((outer, hidden) for outer, hidden, *_ in kernels),
        "norm": "with-bias" if "encoder_level1.0.norm1.body.bias" in shapes else "bias-free",
        "bias": "yes" if f"encoder_level1.0.{attention}.qkv.bias" in shapes else "no",
        "channels": channels,
    }


def channel_heads(shapes: Shapes, attention: str) -> str:
    """Return the heads of the attention between channels at each level."""
    return spelled(shapes[f"{level}.0.{attention}.temperature"][0] for level in LEVELS)


def expansion(pairs: Iterable[tuple[int, int]]) -> float:
    """Return the factor that gives each hidden width: int(width · factor) for all (width, hidden).

    Many do; the usual one is preferred, then that with the fewest decimals. ValueError if there is none.
    """
    pairs = list(pairs)
    low = max(hidden / width for width, hidden in pairs)
    shortest = (math.ceil(round(low * 10**digits, 6)) / 10**digits for digits in range(1, 7))
    for factor in (USUAL, *shortest):
        if all(int(width * factor) == hidden for width, hidden in pairs):
            return factor
    raise ValueError("no factor gives these widths")
