"""The record in what gir export writes, read without torch and onnx."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

from gir_cli.errors import WeightsError

SUFFIXES = (".pt2", ".onnx")
LONGEST = 4 << 20  # bytes of a record
ENTRY = 14  # number of an ONNX model's field metadata_props, of pairs whose fields 1 and 2 are key and value
FIXED = {1: 8, 5: 4}  # bytes of the values of a kind; 0 is a number, 2 has its length before it


def record(path: Path) -> dict[str, Any]:
    """Return the record of .pt2 or .onnx file `path`, or raise WeightsError."""
    try:
        found = json.loads(_in_archive(path) if path.suffix == ".pt2" else _in_onnx(path))
    except OSError as error:
        raise WeightsError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, ArithmeticError, LookupError, RuntimeError):
        raise WeightsError(f"{path}: damaged, or not written by gir export") from None
    if not isinstance(found, dict):
        raise WeightsError(f"{path}: not written by gir export")
    return found


def _in_archive(path: Path) -> bytes:
    """Return the part extra/gir of the archive, whose parts are in one folder of any name."""
    with zipfile.ZipFile(path) as archive:
        name = next((name for name in archive.namelist() if name.partition("/")[2] == "extra/gir"), "")
        if archive.getinfo(name).file_size > LONGEST:
            raise ValueError("too long for a record")
        return archive.read(name)


def _in_onnx(path: Path) -> bytes:
    """Return what the key gir of the model's metadata has, from the model's own fields alone."""
    with open(path, "rb") as file:
        end = os.fstat(file.fileno()).st_size
        while file.tell() < end:
            number, kind = divmod(_varint(file), 8)
            if kind == 0:
                _varint(file)
                continue
            length = _varint(file) if kind == 2 else FIXED[kind]
            if number != ENTRY:
                file.seek(length, os.SEEK_CUR)
            elif (pair := _pair(file, length))[0] == b"gir":
                return pair[1]
    raise LookupError("no key gir")


def _pair(file: BinaryIO, length: int) -> tuple[bytes, bytes]:
    """Return key and value of an entry of `length` bytes."""
    end, found = file.tell() + length, {1: b"", 2: b""}
    while file.tell() < end:
        number, kind = divmod(_varint(file), 8)
        size = _varint(file)
        if kind != 2 or number not in found or size > LONGEST:
            raise ValueError("no pair of texts")
        found[number] = file.read(size)
    return found[1], found[2]


def _varint(file: BinaryIO) -> int:
    """Return the next number of `file`: seven bits a byte, the lowest first, all but the last with the eighth set."""
    value = 0
    for place in range(0, 70, 7):
        byte = file.read(1)[0]
        value |= (byte & 0x7F) << place
        if byte < 0x80:
            return value
    raise ValueError("no number")
