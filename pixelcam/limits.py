"""What reading a file may take of the machine, judged by what it says of itself before it is decoded."""

from __future__ import annotations

import bz2
import json
import lzma
import math
import os
import struct
import zipfile
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import psutil
import yaml

from pixelcam.errors import PixelCAMError

if TYPE_CHECKING:
    from numpy.typing import NDArray

GB = 10**9
MOST = 3_000_000_000
"""Bytes that one image, map or document may take, however large the machine: a few KB can claim any size."""
SHARE = 0.7
"""Share of the free memory that one of them may take."""

_LIMITS = (
    # https://docs.kernel.org/admin-guide/cgroup-v2.html and cgroup-v1/memory.html: (limit, used)
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (
        Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
        Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ),
)
_JSON_COST = 16  # bytes of Python objects a byte of JSON, of a list of one-digit numbers
_YAML_MOST = 1_000_000
_SLACK = 1_000_000  # bytes by which a packed piece may exceed what it should be
_DEFLATE_MOST = 1032  # https://zlib.net/zlib_tech.html, "Maximum Compression Factor"
_ZSTD_MOST = 33_000  # a block of 128 KB of one value takes 4 bytes


def free_memory() -> int:
    """Return how many bytes are free: the machine's, or what a container or batch job is left of its own."""
    free = int(psutil.virtual_memory().available)
    for limit, used in _LIMITS:
        try:
            free = min(free, int(limit.read_text()) - int(used.read_text()))
        except (OSError, ValueError):  # no such system, or "max"
            continue
    return max(0, free)


def check_memory(
    needed: float, subject: str, advice: str, error: type[PixelCAMError], most: float = MOST
) -> None:
    """Refuse what would take more memory than can be had.

    Parameters
    ----------
    needed
        Bytes at the worst moment of reading it.
    subject
        What takes them, as the beginning of a sentence: "a.png has 40000 x 40000 pixels".
    advice
        What to do instead, as the end of one.
    error
        What to raise.
    most
        Bytes that are not exceeded even where they are free; infinity for what is as large on the disk.

    Raises
    ------
    PixelCAMError
        Of the type `error`: it takes more than `most`, or than `SHARE` of what is free.
    """
    room = min(most, SHARE * free_memory())
    if needed > room:
        raise error(f"{subject}, which takes {_size(needed)} of memory, more than {_size(room)}; {advice}.")


def _size(count: float) -> str:
    if count >= GB / 10:
        shown = f"{count / GB:.1f}" if count < 1000 * GB else f"{count / GB:.3g}"
        return f"{shown} GB"
    return f"{count / 10**6:.0f} MB"


def array_bytes(shape: Sequence[int], dtype: Any) -> int:
    """Return the bytes of an array that is to be made, exactly, however large."""
    import numpy as np

    return math.prod(int(side) for side in shape) * int(np.dtype(dtype).itemsize)


def parse_json(text: str | bytes) -> Any:
    """Do as `json.loads`; what is nested deeper than Python can follow is no JSON of ours either.

    Raises
    ------
    ValueError
        The text is no JSON.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def parse_own_json(text: str | bytes) -> Any:
    """Do as `parse_json` for a document of this program's own, in which no number is without end.

    Raises
    ------
    ValueError
        The text is no JSON in UTF-8, or has a number that is not finite, or a whole one beyond 64 bits.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8-sig")
    try:
        return json.loads(text, parse_int=_whole, parse_float=_real, parse_constant=_real)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _whole(digits: str) -> int:
    if len(digits) > 20 or not -(2**63) <= (value := int(digits)) < 2**63:
        raise ValueError("a number of too many digits")
    return value


def _real(digits: str) -> float:
    if not math.isfinite(value := float(digits)):
        raise ValueError("a number without end")
    return value


def check_document(size: int, subject: str, advice: str, error: type[PixelCAMError]) -> None:
    """Refuse JSON of so many bytes where what it becomes in memory does not fit; see `check_memory`."""
    check_memory(size * _JSON_COST, f"{subject} holds {size} bytes of JSON", advice, error)


def read_json(path: str | Path, error: type[PixelCAMError], advice: str, encoding: str = "utf-8") -> Any:
    """Read a JSON file of this program's own, unless it is too large to be taken apart in memory.

    Raises
    ------
    PixelCAMError
        Of the type `error`: it is too large.
    OSError, ValueError
        It cannot be read, or is no JSON.
    """
    path = Path(path)
    check_document(path.stat().st_size, str(path), advice, error)
    return parse_own_json(path.read_text(encoding=encoding))


class _PlainLoader(yaml.SafeLoader):
    """YAML without aliases: a few lines of them can stand for more values than any memory holds."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("aliases are not read")
        return super().compose_node(parent, index)


def parse_yaml(text: str) -> Any:
    """Return plain values of YAML.

    Raises
    ------
    yaml.YAMLError
        It is no YAML, has aliases, is nested too deeply or is longer than any settings file.
    """
    if len(text) > _YAML_MOST:
        raise yaml.YAMLError("longer than any settings file")
    try:
        return yaml.load(text, Loader=_PlainLoader)
    except (RecursionError, ValueError, OverflowError) as error:  # a date or number that is none
        raise yaml.YAMLError(str(error)) from error


def read_npz(path: Path, name: str, error: type[PixelCAMError], advice: str) -> NDArray[Any]:
    """Read one array of an NPZ file, after looking at its header.

    Raises
    ------
    PixelCAMError
        Of the type `error`: the array is too large.
    OSError, ValueError, KeyError, zipfile.BadZipFile
        It cannot be read, or there is no such array.
    """
    import numpy as np

    with path.open("rb") as file, zipfile.ZipFile(file) as archive, archive.open(f"{name}.npy") as member:
        version = np.lib.format.read_magic(member)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, _, dtype = read(member)
    check_memory(2 * array_bytes(shape, dtype), f"{path} holds {_sides(shape)} values", advice, error)
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return np.asarray(arrays[name])


def check_zarr(array: Any, folder: Path, error: type[PixelCAMError], advice: str, copies: float = 2) -> None:
    """Refuse a zarr array that is too large to be read whole, or whose chunks are, before any is decoded.

    Parameters
    ----------
    array
        The open `zarr.Array`.
    folder
        Where it lies.
    error
        What to raise.
    advice
        What to do instead, as the end of a sentence.
    copies
        How many arrays of its size there are at the worst moment.

    Raises
    ------
    PixelCAMError
        Of the type `error`: the array or a chunk of it does not fit into memory, or a file of it unpacks to
        more than a chunk holds.
    """
    import numpy as np

    shape, itemsize = array.shape, max(4, np.dtype(array.dtype).itemsize)
    pieces = [array.chunks, *([array.shards] if getattr(array, "shards", None) else [])]
    chunk = max(math.prod(int(side) for side in piece) for piece in pieces)
    whole = math.prod(int(side) for side in shape)
    check_memory(whole * itemsize * copies, f"{folder} has {_sides(shape)} values", advice, error)
    check_memory(chunk * itemsize * 2, f"{folder} is stored in pieces of {_sides(pieces[-1])}", advice, error)
    expected = chunk * np.dtype(array.dtype).itemsize
    for parent, _, names in os.walk(folder):
        for name in names:
            if _unpacks_to_more(Path(parent, name), 2 * expected + _SLACK):
                raise error(f"{folder} holds a piece that unpacks to more than it should; {advice}.")


def _unpacks_to_more(path: Path, expected: int) -> bool:
    """Tell whether a file is packed by a codec of zarr's, and is more than so many bytes out of it."""
    with suppress(OSError, EOFError, ValueError, zlib.error, lzma.LZMAError), path.open("rb") as file:
        start = file.read(32)
        size = path.stat().st_size
        if start.startswith(b"\x28\xb5\x2f\xfd"):
            return _zstd_size(start, size) > expected
        if len(start) >= 16 and int.from_bytes(start[12:16], "little") == size:  # blosc, which has no mark
            return int.from_bytes(start[4:8], "little") > expected
        file.seek(0)
        zlib_header = start[:1] == b"\x78" and int.from_bytes(start[:2], "big") % 31 == 0
        if zlib_header or start.startswith(b"\x1f\x8b"):
            return size * _DEFLATE_MOST > expected and _inflates(file, expected)
        if start.startswith(b"BZh"):
            return len(bz2.BZ2File(file).read(expected + 1)) > expected
        if start.startswith((b"\xfd7zXZ", b"\x5d\0\0")):
            return len(lzma.LZMAFile(file).read(expected + 1)) > expected
        # LZ4, as numcodecs writes it, begins with its size; what is plain is as large as it is.
        return size <= 4 * expected and expected < int.from_bytes(start[:4], "little") <= 256 * size
    return False


def _zstd_size(start: bytes, size: int) -> int:
    """Return the bytes that a Zstandard frame says it holds; the most that it may where it does not say.

    Format: https://www.rfc-editor.org/rfc/rfc8878, section 3.1.1.1.
    """
    said = start[4]
    width, single = (0, 2, 4, 8)[said >> 6], bool(said & 0x20)
    if width == 0:
        width = int(single)
    place = 5 + (0 if single else 1) + (0, 1, 2, 4)[said & 3]
    if width == 0:
        return size * _ZSTD_MOST
    return int.from_bytes(start[place : place + width], "little") + (256 if width == 2 else 0)


def _inflates(file: BinaryIO, most: int) -> bool:
    """Tell whether a zlib or gzip stream holds more than so many bytes, without keeping them."""
    packer, done = zlib.decompressobj(wbits=47), 0
    while not packer.eof and (data := packer.unconsumed_tail or file.read(1 << 16)):
        done += len(packer.decompress(data, 1 << 20))
        if done > most:
            return True
    return False


def _sides(shape: Sequence[int]) -> str:
    return " x ".join(str(side) for side in shape) or "1"


def jpeg_size(data: bytes) -> tuple[int, int]:
    """Return (width, height) that a JPEG says it has; (0, 0) where it says nothing.

    Format: ITU-T T.81, annex B.
    """
    place = 2
    while place + 9 <= len(data):
        if data[place] != 0xFF:
            place = data.find(b"\xff", place)
            if place < 0:
                break
            continue
        marker = data[place + 1]
        if marker == 0xFF:
            place += 1
        elif marker in (0x00, 0x01) or 0xD0 <= marker <= 0xD8:
            place += 2
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[place + 5 : place + 9])
            return width, height
        else:
            place += 2 + max(2, int.from_bytes(data[place + 2 : place + 4], "big"))
    return 0, 0


def jpeg2000_size(data: bytes) -> tuple[int, int]:
    """Return (width, height) that a JPEG 2000 codestream, bare or in a JP2 file, says it has, or (0, 0).

    Format: ITU-T T.800, annex A.5.1.
    """
    place = 0 if data.startswith(_CODESTREAM) else _jp2_codestream(data)
    if data[place : place + 4] != _CODESTREAM or len(data) < place + 24:
        return 0, 0
    width, height, left, top = struct.unpack(">IIII", data[place + 8 : place + 24])
    return max(0, width - left), max(0, height - top)


_CODESTREAM = b"\xff\x4f\xff\x51"


def _jp2_codestream(data: bytes) -> int:
    """Return where the first codestream of a JP2 file begins; its end where there is none."""
    place = 0
    while place + 16 <= len(data):
        length, kind = struct.unpack(">I4s", data[place : place + 8])
        header = 8
        if length == 1:
            length, header = int.from_bytes(data[place + 8 : place + 16], "big"), 16
        if kind == b"jp2c":
            return place + header
        if length < header:  # to the end of the file, or damaged
            break
        place += length
    return len(data)


def webp_size(data: bytes) -> tuple[int, int]:
    """Return (width, height) of the canvas that a WebP says it has, or (0, 0).

    Format: https://developers.google.com/speed/webp/docs/riff_container.
    """
    kind, start = data[12:16], data[20:30]
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or len(start) < 10:
        return 0, 0
    if kind == b"VP8X":
        return 1 + int.from_bytes(start[4:7], "little"), 1 + int.from_bytes(start[7:10], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(start[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + ((bits >> 14) & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", start[6:10])
        return width & 0x3FFF, height & 0x3FFF
    return 0, 0


def png_size(data: bytes) -> tuple[int, int]:
    """Return (width, height) that a PNG says it has, or (0, 0)."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n") or len(data) < 24:
        return 0, 0
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def jpegxl_size(data: bytes) -> tuple[int, int]:
    """Return (width, height) that a JPEG XL codestream, bare or in a box, says it has, or (0, 0).

    Format: ISO/IEC 18181-1, annex D.2; a container is refused by its size where it cannot be read.
    """
    if not data.startswith(b"\xff\x0a"):
        place = data.find(b"\xff\x0a")
        if place < 0:
            return 0, 0
        data = data[place:]
    bits, place = int.from_bytes(data[2:32], "little"), 0

    def take(count: int) -> int:
        nonlocal place
        value = (bits >> place) & ((1 << count) - 1)
        place += count
        return value

    def side() -> int:
        return 1 + take((9, 13, 18, 30)[take(2)])

    small = take(1)
    height = 8 * (1 + take(5)) if small else side()
    ratio = take(3)
    if ratio:
        above, below = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))[ratio - 1]
        return height * above // below, height
    return (8 * (1 + take(5)) if small else side()), height


def file_bytes(path: str | Path) -> int:
    """Return the size of a file, 0 where there is none."""
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0
