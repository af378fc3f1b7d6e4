"""What a network takes of the whole picture, so that the picture's tiles can share it.

Channel attention, attention between channels and prompts depend on means over all pixels. Tiles that each
took their own would differ in colour and brightness. A network passes such quantities through `Whole`, and
stretches maps over the picture by `Stretched`; both do nothing else until tiles have `shared` what was
`found`. From then on the network is local, and its description's `shared_reach` says how far.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

SHARED_REACH = 96  # pixels; farther, random U-Nets of the published depths change nothing

Found = Mapping[nn.Module, Tensor]


@dataclass(frozen=True)
class Place:
    """Where a tile's rows and columns begin and end, as shares of the whole; both as the network takes them."""

    rows: tuple[float, float]
    columns: tuple[float, float]


class Whole(nn.Identity):
    """A quantity of the whole picture, (N, …) for N pictures, passed on as it is."""


class Counted(Whole):
    """How often things occur in pictures (N, 3, H, W), (N, things); scaled down, a picture has others.

    Those of a picture are those of its bands together, if they begin at multiples of 8 rows, and each but the last
    has the first `overlap` rows of the next.
    """

    overlap = 0

    def counts(self, picture: Tensor) -> Tensor:
        """Return the counts of pictures or of bands of them."""
        raise NotImplementedError

    def forward(self, picture: Tensor) -> Tensor:
        return super().forward(self.counts(picture))


def tally(found: Tensor, things: int) -> Tensor:
    """Return how often each of the numbers 0 to `things` - 1 is `found` (N, M), long, for each of N; (N, things)."""
    counts = torch.zeros(found.shape[0], things, device=found.device)
    return counts.scatter_add_(1, found, torch.ones_like(found, dtype=counts.dtype))


class Stretched(nn.Module):
    """Maps (N, C, h, w) stretched over the whole picture, bilinearly, to a `height` and a `width`."""

    def forward(self, maps: Tensor, height: int, width: int) -> Tensor:
        return functional.interpolate(maps, (height, width), mode="bilinear", align_corners=False)


def part(maps: Tensor, height: int, width: int, place: Place) -> Tensor:
    """Return the part at `place`, of `height` and `width`, of what `Stretched` makes of `maps`."""
    rows, columns = (
        first + (last - first) * (torch.arange(size, device=maps.device) + 0.5) / size
        for (first, last), size in ((place.rows, height), (place.columns, width))
    )
    y, x = torch.meshgrid(2 * rows - 1, 2 * columns - 1, indexing="ij")
    grid = torch.stack((x, y), -1).expand(len(maps), -1, -1, -1)
    return functional.grid_sample(maps.float(), grid, padding_mode="border", align_corners=False).to(maps.dtype)


@contextmanager
def found(network: nn.Module) -> Iterator[dict[nn.Module, Tensor]]:
    """Yield a mapping that is given what `network` takes of the pictures it is run on meanwhile, in fp32."""
    quantities: dict[nn.Module, Tensor] = {}

    def keep(layer: nn.Module, given: tuple[Tensor], quantity: Tensor) -> None:
        quantities[layer] = quantity.float()

    hooks = [layer.register_forward_hook(keep) for layer in network.modules() if isinstance(layer, Whole)]
    try:
        yield quantities
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def shared(network: nn.Module, quantities: Found, place: Place) -> Iterator[None]:
    """Let `network` take `quantities` for its own, of a tile at `place`."""

    def recall(layer: nn.Module, given: tuple[Tensor], quantity: Tensor) -> Tensor:
        return quantities[layer]

    def cut(layer: nn.Module, given: tuple[Tensor, int, int], stretched: Tensor) -> Tensor:
        return part(*given, place)

    hooks = [
        layer.register_forward_hook(recall if isinstance(layer, Whole) else cut)
        for layer in network.modules()
        if isinstance(layer, (Whole, Stretched))
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
