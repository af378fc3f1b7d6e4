"""Print what the backbones cost on one core: python tests/bench/zoo.py [NAME…].

Processor seconds of one 256×256 picture at the published default sizes, in fp32 and in bf16, both with
channels last; in brackets the share of those of the published code, as far as it was measured on a
processor with AMX. Beside them billions of multiplications, and how many times longer they take than
those of a plain 3×3 convolution of 64 channels.
"""

from __future__ import annotations

import sys
import time

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from gir_cli.devices import keep_freed_memory, place_channels_last
from gir_cli.models import MODELS
from gir_cli.weights import built

SIDE = 256
TIMES = 2
#: Seconds of the published code on two cores: fp32, bf16.
PUBLISHED = {
    "dncnn": (0.48, 0.059),
    "ffdnet": (0.091, 0.016),
    "srresnet": (0.77, 0.146),
    "nafnet": (0.52, 0.19),
    "rrdbnet": (13.4, 3.4),
    "restormer": (8.0, 3.6),
    "promptir": (9.3, None),
    "swinir": (28.9, 14.8),
}
#: Sizes that the published figures are of, where they are not the defaults.
SIZES = {"nafnet": {"encoder": "2-2-4-8", "middle": 12, "decoder": "2-2-2-2"}}


def seconds(network: nn.Module, batch: Tensor, precision: torch.dtype) -> float:
    """Return the fewest processor seconds of a few runs: what the clock says depends on who else runs."""
    taken = []
    with torch.inference_mode(), torch.autocast("cpu", precision, enabled=precision != torch.float32):
        for _ in range(TIMES):
            start = time.process_time()
            network(batch)
            taken.append(time.process_time() - start)
    return min(taken)


def multiplications(network: nn.Module, batch: Tensor) -> float:
    """Return the billions of multiplications of convolutions, products and attention."""
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(batch)
    return counter.get_total_flops() / 2e9


def ready(network: nn.Module) -> nn.Module:
    place_channels_last(network.eval())
    return network


def share(taken: float, published: float | None) -> str:
    return f"({taken / (2 * published):4.2f})" if published else ""


def main(*wanted: str) -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    plain = ready(nn.Conv2d(64, 64, 3, padding=1))
    features = torch.rand(1, 64, SIDE, SIDE).contiguous(memory_format=torch.channels_last)
    work = multiplications(plain, features)
    usual = {kind: seconds(plain, features, kind) / work for kind in (torch.float32, torch.bfloat16)}
    for name in wanted or MODELS:
        network = ready(built(name, SIZES.get(name, {})))
        batch = torch.rand(1, network.description.channels, SIDE, SIDE).contiguous(memory_format=torch.channels_last)
        work = multiplications(network, batch)
        said = f"{name:10} {work:6.0f} GMAC"
        for kind, published in zip(usual, PUBLISHED.get(name, (None, None)), strict=True):
            taken = seconds(network, batch, kind)
            label = str(kind).removeprefix("torch.")
            said += f"  {label} {taken:7.3f} s {share(taken, published):6} x{taken / work / usual[kind]:4.1f}"
        print(said, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
