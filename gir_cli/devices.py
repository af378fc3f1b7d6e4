"""What a device is, has and does well."""

from __future__ import annotations

import ctypes
import platform
import sys
from contextlib import suppress

import torch
from torch import Tensor, nn

from gir_cli.errors import UsageError
from gir_cli.models.whole import Stretched, Whole


def device_of(name: str) -> torch.device:
    """Return the device called `name`, or the best there is for "auto"; UsageError if it isn't there."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda", "mps"):
            raise ValueError
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, ValueError):
        raise UsageError(
            f"--device={name} is not on this machine (auto, cpu, cuda, cuda:N, mps; several as cuda:0,1)"
        ) from None
    return device


def fast_precision(device: torch.device) -> torch.dtype:
    """Return the type in which dense convolutions are fast on `device`.

    bf16 on GPUs that have it, and on CPUs with AMX or AVX512-BF16; elsewhere it may be slower than fp32.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    checks = (getattr(torch.cpu, name, None) for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"))
    fast = device.type == "cpu" and any(check() for check in checks if check)
    return torch.bfloat16 if fast else torch.float32


def described(device: torch.device) -> str:
    """Return what `device` is, as its maker calls it where that can be told."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        with open("/proc/cpuinfo") as lines:
            name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor()
    return f"{device.type} {platform.machine()} {name} {torch.backends.cpu.get_cpu_capability()}"


def free_memory(device: torch.device) -> int:
    """Return the bytes that are free on `device`; for the CPU, what the system says is available."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        with open("/proc/meminfo") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return 4 << 30


def peak_memory(device: torch.device) -> int:
    """Return the most bytes that were in use so far, on `device`; for the CPU, by this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def out_of_memory(error: Exception) -> bool:
    """Say whether `error` means that memory ran out, of a device or of the machine."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "allocate memory" in str(error)


def place_channels_last(network: nn.Module) -> None:
    """Lay the network's kernels out channels last; only they have four dimensions for sure."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            module.to(memory_format=torch.channels_last)


def compile_in_place(network: nn.Module) -> None:
    """Have `network` compiled when it is first called, and once more for other sizes; UsageError if it cannot be.

    Layers that take something of the whole picture are left as they are: compiled code would pass over the
    hooks by which tiles share it.
    """
    for layer in network.modules():
        if any(isinstance(part, (Whole, Stretched)) for part in layer.children()):
            layer.forward = torch.compiler.disable(layer.forward)
    compiled = torch.compile(network.forward)

    def forward(*given: Tensor) -> Tensor:
        try:
            return compiled(*given)
        except torch._dynamo.exc.BackendCompilerFailed as error:
            why = str(error.inner_exception).partition("\n")[0]
            raise UsageError(f"--compile is not possible here: {why}") from None

    network.forward = forward


def keep_freed_memory() -> None:
    """Tell glibc to keep large freed blocks for the next operation instead of giving them back.

    Its default maps and unmaps every activation over 32 MiB, and the page faults cost up to half of
    the time at 512×512 and above. Other C libraries are left as they are.
    """
    for option, value in ((-4, 0), (-1, 2**31 - 1), (-2, 256 << 20)):  # M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD
        _glibc("mallopt", option, value)


def give_back_freed_memory() -> None:
    """Give back what was kept: beside a picture of 100 megapixels it is missed, and no longer saves time."""
    _glibc("malloc_trim", 0)


def _glibc(name: str, *arguments: int) -> None:
    if sys.platform.startswith("linux"):
        with suppress(OSError, AttributeError):
            getattr(ctypes.CDLL(None), name)(*arguments)


def use_threads(count: int | None) -> None:
    """Let operations use `count` threads; None leaves torch's own choice."""
    if count:
        torch.set_num_threads(count)
