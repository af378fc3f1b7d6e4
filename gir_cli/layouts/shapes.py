"""The tensors of layers, as their shapes by name; each function takes what the layer of torch takes."""

from __future__ import annotations

from collections.abc import Iterable

from gir_cli.errors import UsageError

Shapes = dict[str, tuple[int, ...]]


def conv(name: str, inner: int, outer: int, side: int = 3, *, bias: bool = True) -> Shapes:
    """Return the tensors of a convolution; `inner` is 1 where it is depthwise."""
    return _layer(name, (outer, inner, side, side), outer, bias=bias)


def deconv(name: str, inner: int, outer: int, side: int, *, bias: bool = True) -> Shapes:
    """Return the tensors of a transposed convolution."""
    return _layer(name, (inner, outer, side, side), outer, bias=bias)


def linear(name: str, inner: int, outer: int) -> Shapes:
    """Return the tensors of a linear layer."""
    return _layer(name, (outer, inner), outer)


def norm(name: str, width: int, *, bias: bool = True) -> Shapes:
    """Return the tensors of a normalisation over the channels."""
    return _layer(name, (width,), width, bias=bias)


def _layer(name: str, weight: tuple[int, ...], outer: int, *, bias: bool = True) -> Shapes:
    return {f"{name}.weight": weight} | ({f"{name}.bias": (outer,)} if bias else {})


def inside(name: str, tensors: Shapes) -> Shapes:
    """Return `tensors` as those of a part called `name`."""
    return {f"{name}.{key}": shape for key, shape in tensors.items()}


def repeated(name: str, count: int, tensors: Shapes, *, first: int = 0) -> Shapes:
    """Return `tensors` as those of each of `count` equal parts of `name`, numbered from `first`."""
    return together(inside(f"{name}.{number}", tensors) for number in range(first, first + count))


def together(parts: Iterable[Shapes]) -> Shapes:
    """Return the tensors of all `parts`."""
    return {name: shape for part in parts for name, shape in part.items()}


def check_heads(width: int, heads: int) -> None:
    """Raise UsageError unless `width` channels divide among `heads`."""
    if width % heads:
        raise UsageError(f"{width} channels do not divide among {heads} heads")
