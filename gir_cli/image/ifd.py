"""Image file directories: the structure that TIFF and EXIF share (TIFF 6.0, section 2; EXIF 3.0, 4.6)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TypeAlias

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_EXIF, _GPS, _INTEROPERABILITY = 34665, 34853, 40965
_NEXT = 4  # bytes of the offset to the next directory
_RESOLUTION, _UNIT = {282, 283, 296}, 296
_ORIENTATION = 274
# description, make, model, orientation, software, date, artist, copyright
_DESCRIPTIVE = {270, 271, 272, _ORIENTATION, 305, 306, 315, 33432}
_EMPTY = b"II*\0\x08\0\0\0\0\0\0\0\0\0"  # a block that says nothing


@dataclass(frozen=True)
class Entry:
    """One field: its type, how many values, and their bytes in the file's own order."""

    kind: int
    count: int
    body: bytes


Directory: TypeAlias = dict[int, Entry]


def order_of(data: bytes) -> str:
    """Return the byte order of a TIFF structure as struct's sign."""
    return "<" if data[:2] == b"II" else ">"


def directory(data: bytes, at: int) -> Directory:
    """Return the directory at offset `at`; what is damaged is left out."""
    order, found = order_of(data), {}
    (count,) = struct.unpack_from(order + "H", data, at)
    for start in range(at + 2, min(at + 2 + 12 * count, len(data) - 11), 12):
        tag, kind, number = struct.unpack_from(order + "HHI", data, start)
        size = _SIZES.get(kind, 0) * number
        place = start + 8 if size <= 4 else struct.unpack_from(order + "I", data, start + 8)[0]
        if size > 0 and place + size <= len(data):
            found[tag] = Entry(kind, number, data[place : place + size])
    return found


def first(data: bytes) -> Directory:
    """Return the first directory of a TIFF structure."""
    return directory(data, struct.unpack_from(order_of(data) + "I", data, 4)[0])


def exif_of(tiff: bytes) -> bytes | None:
    """Return the EXIF block of a classic TIFF file: what describes the picture, not its pixels; or None."""
    try:
        whole = first(tiff) if tiff[2:4] in (b"*\0", b"\0*") else {}
        below = _below(tiff, whole)
    except struct.error:
        return None
    above = _description(whole)
    if not above.keys() - {_ORIENTATION} and not below:
        return None
    order = order_of(tiff)
    body, start = _tree(above, below, 8, order)
    return tiff[:4] + struct.pack(order + "I", start) + body


def with_exif(tiff: bytes, exif: bytes) -> bytes:
    """Return a classic TIFF file with the contents of `exif`, which must have its byte order.

    A new first directory goes to the end of the file; the old one stays behind unused.
    """
    order = order_of(tiff)
    extra = first(exif)
    (at,) = struct.unpack_from(order + "I", tiff, 4)
    (count,) = struct.unpack_from(order + "H", tiff, at)
    (following,) = struct.unpack_from(order + "I", tiff, at + 2 + 12 * count)
    above = directory(tiff, at) | _description(extra)
    padding = b"\0" * (len(tiff) % 2)
    body, start = _tree(above, _below(exif, extra), len(tiff) + len(padding), order, following)
    return b"".join((tiff[:4], struct.pack(order + "I", start), memoryview(tiff)[8:], padding, body))


def with_orientation(exif: bytes | None, value: int) -> bytes:
    """Return an EXIF block that tells orientation `value`, 1 to 8; a damaged one is made anew.

    A new first directory goes to the end of the block, without a thumbnail; the old one stays behind unused.
    """
    try:
        above = first(exif) if exif else {}
    except struct.error:
        above = {}
    old = exif if exif and above else _EMPTY
    old += b"\0" * (len(old) % 2)
    order = order_of(old)
    above |= {_ORIENTATION: Entry(3, 1, struct.pack(order + "H", value))}
    return old[:4] + struct.pack(order + "I", len(old)) + old[8:] + _packed(above, len(old), order)


def _description(above: Directory) -> Directory:
    """Return the entries that describe the picture, its resolution among them where it has a unit."""
    has_unit = _UNIT in above and any(above[_UNIT].body[:2].strip(b"\0\1"))
    tags = _DESCRIPTIVE | (_RESOLUTION if has_unit else set())
    return {tag: entry for tag, entry in above.items() if tag in tags}


def _below(data: bytes, above: Directory) -> dict[int, Directory]:
    """Return the EXIF and GPS directories that `above` points to, by the tag that does."""
    found = {}
    for tag in (_EXIF, _GPS):
        if tag in above and len(above[tag].body) == 4:
            (at,) = struct.unpack(order_of(data) + "I", above[tag].body)
            if entries := directory(data, at):
                found[tag] = entries
                entries.pop(_INTEROPERABILITY, None)  # an offset of its own, to nothing that is needed
    return found


def _tree(above: Directory, below: dict[int, Directory], at: int, order: str, following: int = 0) -> tuple[bytes, int]:
    """Return the bytes from offset `at` on of a directory and those beneath it, and where it begins."""
    body = b""
    above = dict(above)
    for tag, entries in below.items():
        above[tag] = Entry(4, 1, struct.pack(order + "I", at + len(body)))
        body += _packed(entries, at + len(body), order)
    return body + _packed(above, at + len(body), order, following), at + len(body)


def _packed(entries: Directory, at: int, order: str, following: int = 0) -> bytes:
    """Return a directory that begins at offset `at`, with its values behind it."""
    table = struct.pack(order + "H", len(entries))
    values = b""
    room = at + 2 + 12 * len(entries) + _NEXT
    for tag, entry in sorted(entries.items()):
        table += struct.pack(order + "HHI", tag, entry.kind, entry.count)
        if len(entry.body) <= 4:
            table += entry.body.ljust(4, b"\0")
        else:
            table += struct.pack(order + "I", room + len(values))
            values += entry.body + b"\0" * (len(entry.body) % 2)
    return table + struct.pack(order + "I", following) + values + b"\0" * (len(values) % 2)
