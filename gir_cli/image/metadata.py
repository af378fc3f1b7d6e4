"""What a file says about its picture beside the pixels: ICC, EXIF, XMP and our own record."""

from __future__ import annotations

import html
import re
import struct
from dataclasses import dataclass, replace

from gir_cli.image import ifd

NAMESPACE = "https://gir.invalid/record/1.0/"
INCHES = 1 / 0.0254  # to the metre
_EXIF_ORIENTATION, _ACROSS, _DOWN = 0x0112, 0x011A, 0x011B
_SHORT = 3
_XMP_ORIENTATION = re.compile(rb"(tiff:Orientation\s*(?:=\s*[\"']|>\s*))[1-8]")
_XMP_ENTRY = '<rdf:Description rdf:about="" xmlns:gir="' + NAMESPACE + '"><gir:record>{}</gir:record></rdf:Description>'
_XMP_RECORD = re.compile(re.escape(_XMP_ENTRY).replace(r"\{\}", "(.*?)").encode(), re.DOTALL)
_XMP_EMPTY = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '</rdf:RDF></x:xmpmeta>\n<?xpacket end="w"?>'
)


@dataclass(frozen=True)
class Metadata:
    """Blobs carried from file to file.

    `exif` is the TIFF structure alone ('II*' or 'MM*' first), without any container's prefix;
    `xmp` the UTF-8 packet; `record` the provenance record's text. `density` is how many pixels a metre of
    the original has, across and down, as scanners note it.
    """

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    record: str | None = None
    density: tuple[float, float] | None = None


def density_of(across: float, down: float, metre: float) -> tuple[float, float] | None:
    """Return the density of so many pixels for a length that `metre` of make a metre; None if it is none."""
    found = across * metre, down * metre
    return found if all(0 < pixels < 1e9 for pixels in found) else None


def bare_exif(blob: bytes | None) -> bytes | None:
    """Return an EXIF blob without the 'Exif' prefix that some containers add, or None if it is none."""
    if blob and blob[:6] in (b"Exif\0\0", b"Exif\0\xff"):
        blob = blob[6:]
    return blob if blob and blob[:4] in (b"II*\0", b"MM\0*") else None


def _entries(exif: bytes) -> tuple[str, dict[int, int]]:
    """Return the byte order, and where each whole entry of the first directory begins, by its tag."""
    order, found = ifd.order_of(exif), {}
    try:
        (start,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, start)
        for entry in range(start + 2, min(start + 2 + 12 * count, len(exif) - 11), 12):
            found.setdefault(struct.unpack_from(order + "H", exif, entry)[0], entry)
    except struct.error:
        pass  # a damaged EXIF block orients nothing
    return order, found


def _orientation_at(exif: bytes) -> tuple[str, int] | None:
    """Return the byte order and the offset of the orientation's value, or None."""
    order, entries = _entries(exif)
    entry = entries.get(_EXIF_ORIENTATION)
    if entry is None or struct.unpack_from(order + "H", exif, entry + 2)[0] != _SHORT:
        return None
    return order, entry + 8


def orientation(exif: bytes | None) -> int:
    """Return EXIF's orientation, 1 to 8; 1 where there is none or it is damaged."""
    found = _orientation_at(exif) if exif else None
    if not exif or not found:
        return 1
    order, offset = found
    (value,) = struct.unpack_from(order + "H", exif, offset)
    return value if 1 <= value <= 8 else 1


def upright(metadata: Metadata, turned: int) -> Metadata:
    """Return `metadata` of a picture that was `turned`, with every orientation it tells set to 1, in place."""
    exif, xmp = metadata.exif, metadata.xmp
    if exif and _orientation_at(exif):
        exif = _with_orientation(exif, 1)
    if exif and turned > 4:  # lines have become columns
        exif = _with_resolutions_swapped(exif)
    if xmp:
        xmp = _XMP_ORIENTATION.sub(rb"\g<1>1", xmp)
    density = metadata.density
    if density and turned > 4:
        density = density[::-1]
    return replace(metadata, exif=exif, xmp=xmp, density=density)


def oriented(metadata: Metadata, turned: int) -> Metadata:
    """Return `metadata` of a picture that is still to be `turned`, with EXIF that says so."""
    exif = metadata.exif
    if orientation(exif) == turned:
        return metadata
    return replace(metadata, exif=_with_orientation(exif, turned))


def _with_orientation(exif: bytes | None, value: int) -> bytes:
    found = _orientation_at(exif) if exif else None
    if not exif or not found:
        return ifd.with_orientation(exif, value)
    order, offset = found
    return exif[:offset] + struct.pack(order + "H", value) + exif[offset + 2 :]


def _with_resolutions_swapped(exif: bytes) -> bytes:
    _, entries = _entries(exif)
    if _ACROSS not in entries or _DOWN not in entries:
        return exif
    swapped = bytearray(exif)
    across, down = (slice(entries[tag] + 2, entries[tag] + 12) for tag in (_ACROSS, _DOWN))
    swapped[across], swapped[down] = exif[down], exif[across]
    return bytes(swapped)


def without_thumbnail(exif: bytes) -> bytes:
    """Return an EXIF block that no longer points to its thumbnail, which shows the picture before the work."""
    order = "<" if exif[:2] == b"II" else ">"
    try:
        (start,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, start)
    except struct.error:
        return exif
    end = start + 2 + 12 * count
    return exif[:end] + bytes(4) + exif[end + 4 :] if end + 4 <= len(exif) else exif


def icc_space(icc: bytes) -> str:
    """Return the colour space a profile is for: 'RGB', 'GRAY', 'CMYK', … (ICC.1:2022, 7.2.8), or ''."""
    return icc[16:20].decode("latin-1").strip() if len(icc) >= 132 and icc[36:40] == b"acsp" else ""


def packet(metadata: Metadata) -> bytes | None:
    """Return the XMP packet to write where the record has no place of its own."""
    return with_record(metadata.xmp, metadata.record) if metadata.record else metadata.xmp


def with_record(xmp: bytes | None, record: str) -> bytes:
    """Return the XMP packet with `record` in it; a packet is made where there is none.

    One that has no place for it, being damaged or not UTF-8, stays as it is.
    """
    head, end, tail = (xmp or _XMP_EMPTY.encode()).rpartition(b"</rdf:RDF>")
    entry = _XMP_ENTRY.format(html.escape(record, quote=False)).encode()
    return head + entry + end + tail if end else tail


def without_record(xmp: bytes | None) -> tuple[bytes | None, str | None]:
    """Return an XMP packet without our record in it, and the record; None each where nothing is."""
    found = _XMP_RECORD.search(xmp) if xmp else None
    if not xmp or not found:
        return xmp, None
    rest = xmp[: found.start()] + xmp[found.end() :]
    return (None if rest == _XMP_EMPTY.encode() else rest), html.unescape(found.group(1).decode("utf-8", "replace"))
