"""Several processes that train one network: which part of the work is whose, and what they agree on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor
from torch import distributed as dist

from gir_cli.errors import GirError, UsageError

PATIENCE = timedelta(hours=2)  # the first process may decode photographs for long while others wait


@dataclass(frozen=True)
class Ranks:
    """The place of this process among `count` of them: `rank` of all, `local` of those on its machine."""

    rank: int = 0
    count: int = 1
    local: int = 0

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes files and speaks."""
        return self.rank == 0

    def share(self, address: tuple[int, int, int]) -> tuple[int, int, int]:
        """Return this process's part of the samples at `address`, (first, number, side)."""
        first, count, side = address
        if count % self.count:
            raise UsageError(
                f"a batch of {count} patches of {side}x{side} is not divisible among {self.count} processes"
            )
        part = count // self.count
        return first + self.rank * part, part, side


ALONE = Ranks()


@contextmanager
def joined(ranks: Ranks, device: torch.device) -> Iterator[None]:
    """Join the other processes for as long as the block lasts; they meet where the environment says.

    A process that has gone ends the block with GirError.
    """
    if ranks.count == 1:
        yield
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, init_method="env://", rank=ranks.rank, world_size=ranks.count, timeout=PATIENCE)
    try:
        yield
    except dist.DistBackendError as error:
        raise _lost(ranks, error) from None
    except RuntimeError as error:
        if "onnection" not in str(error) and "gloo" not in str(error).lower():
            raise
        raise _lost(ranks, error) from None
    finally:
        # Waiting for others to leave would never end where one has died.
        dist.destroy_process_group()


def _lost(ranks: Ranks, error: RuntimeError) -> GirError:
    return GirError(f"process {ranks.rank} of {ranks.count} lost another one of the run; the same command goes on")


def agreed(flag: bool, ranks: Ranks, device: torch.device) -> bool:
    """Say whether `flag` is true in any of the processes."""
    return bool(total(torch.tensor([float(flag)], device=device), ranks)[0])


def total(values: Tensor, ranks: Ranks) -> Tensor:
    """Return the sum of `values` over all processes."""
    if ranks.count > 1:
        dist.all_reduce(values)
    return values


def of_the_first(value: float, ranks: Ranks, device: torch.device) -> float:
    """Return what `value` is in the first process."""
    return float(total(torch.tensor([value if ranks.leads else 0.0], dtype=torch.float64, device=device), ranks)[0])


@contextmanager
def first_alone(ranks: Ranks) -> Iterator[None]:
    """Let the first process of each machine pass through the block before the others."""
    if ranks.count > 1 and ranks.local:
        dist.barrier()
    yield
    if ranks.count > 1 and not ranks.local:
        dist.barrier()
