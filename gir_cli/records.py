"""What can be known of weights without loading them: where they are, whether they are whole, and their record."""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import numpy as np

from gir_cli.errors import UsageError, WeightsError
from gir_cli.layouts import Layout, configured, difference
from gir_cli.layouts.shapes import Shapes
from gir_cli.recognition import recognised

FORMAT = 1
LONGEST = 1 << 20  # bytes of a safetensors header; a thousand tensors take a tenth of it
SUFFIX = ".safetensors"
SUFFIXES = (SUFFIX, ".pth", ".pt", ".ckpt")  # the first counts where a folder has several of one name
BITS = {"F64": 64, "F32": 32, "F16": 16, "BF16": 16, "I64": 64, "I32": 32, "I16": 16, "I8": 8, "U8": 8, "BOOL": 8}
FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
PIECE = 1 << 20  # values that are looked at together
UNSAID: Mapping[str, str] = MappingProxyType({})  # no settings


def find(name: str, places: Iterable[Path]) -> Path:
    """Return the file of the weights called `name`: an explicit path, or NAME.safetensors in one of `places`.

    A published checkpoint in one of them, NAME.pth or the like, is found too. Raises WeightsError naming
    every place that was searched, or what `check` finds wrong.
    """
    path = _found(name, list(places))
    check(path)
    return path


def _found(name: str, places: list[Path]) -> Path:
    if "/" in name or name.endswith(SUFFIXES):
        return Path(name)
    candidates = (place / f"{name}{suffix}" for place in places for suffix in SUFFIXES)
    if path := next((path for path in candidates if path.is_file()), None):
        return path
    searched = ", ".join(str(place) for place in places)
    raise WeightsError(f"no weights are called '{name}' (searched: {searched})")


def there(places: Iterable[Path]) -> dict[str, Path]:
    """Return the weights files in `places` by name; where several share one, the first counts."""
    found: dict[str, Path] = {}
    for place in places:
        for suffix in SUFFIXES:
            for path in sorted(place.glob(f"*{suffix}")) if place.is_dir() else ():
                if path.is_file():
                    found.setdefault(path.name.removesuffix(suffix), path)
    return found


def digest(path: Path) -> str:
    """Return the SHA-256 of file `path` in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check(path: Path, settings: Mapping[str, str] = UNSAID) -> None:
    """Raise WeightsError if weights file `path` is not there, or is in safetensors form and cannot be used.

    That is a header that lies, tensors that are no network's or not those of its record, or values that are
    not finite. It is done here because importing torch takes longer, and more memory, than refusing a bad
    file may; of files in other forms nothing is known without it.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file")
    if not is_safetensors(path):
        return
    in_header(path, settings)
    with open(path, "rb") as file:
        file.seek(8 + struct.unpack("<Q", file.read(8))[0])
        for name, entry in sorted(tensors(path).items(), key=_place):
            if not _finite(file, entry["dtype"], math.prod(entry["shape"])):
                raise WeightsError(f"{path}: '{name}' holds values that are not finite")


def _finite(file: BinaryIO, kind: str, count: int) -> bool:
    """Read the next `count` values of `file` and say whether they are finite."""
    if kind not in FLOATS:
        file.seek(count * BITS[kind] // 8, 1)
        return True
    for start in range(0, count, PIECE):
        values = np.frombuffer(file.read(min(PIECE, count - start) * BITS[kind] // 8), FLOATS[kind])
        # numpy has no bfloat16; all bits of its exponent stand for infinity or no number.
        if not (np.isfinite(values) if kind != "BF16" else values & 0x7F80 != 0x7F80).all():
            return False
    return True


def is_safetensors(path: Path) -> bool:
    """Say whether file `path` claims to be in safetensors form."""
    with open(path, "rb") as file:
        return file.read(9)[8:] == b"{" or path.suffix == SUFFIX


def ours(path: Path) -> bool:
    """Say whether file `path` is one with a record of gir; WeightsError if its header is damaged."""
    return is_safetensors(path) and "gir" in (header(path).get("__metadata__") or {})


def header(path: Path) -> dict[str, Any]:
    """Return the header of safetensors file `path`: tensors by name, and `__metadata__`.

    Reads no more. WeightsError if it is no header, or the tensors don't fill the file exactly: refused are
    names that come twice, unknown types, and shapes that do not agree with the bytes they claim.
    """
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
            text = file.read(length) if 8 + length <= size and length <= LONGEST else None
    except OSError as error:
        raise WeightsError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    if text is None:
        raise WeightsError(f"{path}: not a safetensors file, or cut short")
    try:
        found = json.loads(text, object_pairs_hook=_once)
        if not isinstance(found.get("__metadata__", {}), dict):
            raise ValueError("its metadata is no mapping")
        end = _filled({name: entry for name, entry in found.items() if name != "__metadata__"})
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise WeightsError(f"{path}: damaged weights file ({brief(error)})") from None
    if end != size - 8 - length:
        raise WeightsError(f"{path}: damaged weights file (holds {size - 8 - length} bytes of tensors, not {end})")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name comes twice in its header")
    return found


def _place(item: tuple[str, Mapping[str, Any]]) -> Any:
    return item[1]["data_offsets"]


def _filled(entries: Mapping[str, Any]) -> int:
    """Return the bytes that the tensors of a header take, or raise ValueError if they overlap or leave gaps."""
    end = 0
    for name, entry in sorted(entries.items(), key=_place):
        if not name.isprintable():
            raise ValueError("it holds a name that cannot be printed")
        shape, (start, stop) = entry["shape"], entry["data_offsets"]
        if not all(type(side) is int and side >= 0 for side in shape):
            raise ValueError(f"'{name}' has no shape")
        if entry["dtype"] not in BITS:
            raise ValueError(f"'{name}' is of the unknown type {entry['dtype']}")
        if start != end or stop - start != math.prod(shape) * BITS[entry["dtype"]] // 8:
            raise ValueError(f"the bytes of '{name}' are not where they should be")
        end = stop
    return end


def brief(error: Exception) -> str:
    """Return the beginning of an error in one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:120]


def tensors(path: Path) -> dict[str, Any]:
    """Return what the header of safetensors file `path` says of each tensor."""
    return {name: entry for name, entry in header(path).items() if name != "__metadata__"}


def shapes(entries: Mapping[str, Any]) -> Shapes:
    """Return the shapes of the tensors of a header by name."""
    return {name: tuple(entry["shape"]) for name, entry in entries.items()}


def in_header(path: Path, settings: Mapping[str, str] = UNSAID) -> Layout:
    """Return the configuration of the network in safetensors file `path`, or raise WeightsError; reads no more."""
    return understood(path, shapes(tensors(path)), settings)[0]


def understood(path: Path, found: Shapes, settings: Mapping[str, str] = UNSAID) -> tuple[Layout, dict[str, str]]:
    """Return the configuration of the network in file `path`, whose tensors have the shapes `found`.

    With it come the network's names of tensors, each with that in the file. The configuration is that of
    the file's record, or what names and shapes show and `settings` say. WeightsError if it is none, or one
    tensor is not what it wants.
    """
    known = record(path) if ours(path) else None
    try:
        if known is None:
            config, names = recognised(found, settings)
        else:
            config, names = _recorded(known), {name: name for name in found}
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None
    if wrong := difference(config.tensors(), {name: found[there] for name, there in names.items()}):
        raise WeightsError(f"{path}: {wrong}")
    return config, names


def _recorded(known: Mapping[str, Any]) -> Layout:
    """Return the configuration that a record says."""
    try:
        return configured(known["model"], known["config"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise WeightsError(f"its record is incomplete ({error})") from None
    except UsageError as error:
        raise WeightsError(str(error)) from None


def record(path: Path) -> dict[str, Any]:
    """Return the record of weights file `path`, or raise WeightsError."""
    try:
        found = json.loads(header(path)["__metadata__"]["gir"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise WeightsError(f"{path}: holds no record of gir") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise WeightsError(f"{path}: written in a format that this version does not know")
    return found


def published(path: Path, config: Layout) -> dict[str, Any]:
    """Return a record made for file `path`, which others published and was understood as `config`."""
    complete = asdict(config)  # type: ignore[call-overload]
    return {
        "format": FORMAT,
        "name": path.stem,
        "model": config.name,
        "config": complete,
        "scale": complete.get("scale", 1),
        "license": config.official.license if config.official else "",
        "origin": f"{path.name}, recognised from the names and shapes of its tensors",
        "parents": [digest(path)],
    }


def parameters(path: Path) -> int:
    """Return the number of values in weights file `path`, or raise WeightsError."""
    return sum(math.prod(shape) for shape in shapes(tensors(path)).values())
