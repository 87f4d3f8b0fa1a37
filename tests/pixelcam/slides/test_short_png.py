"""A PNG whose rows end before its header says is damaged, however well its file ends."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from pixelcam.errors import ImageError
from pixelcam.slides import open_slide

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(rows: bytes, *, width=40, height=30, bits=8, colour=2, interlaced=0, piece=200) -> bytes:
    packed = zlib.compress(rows)
    pieces = [packed[first : first + piece] for first in range(0, len(packed), piece)]
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced)
    return b"".join(
        [SIGNATURE, chunk(b"IHDR", header), *(chunk(b"IDAT", one) for one in pieces), chunk(b"IEND", b"")]
    )


def noise(count: int) -> bytes:
    return np.random.default_rng(0).integers(1, 255, count, np.uint8).tobytes()


def rgb_rows(count: int) -> bytes:
    return b"".join(b"\0" + noise(120) for _ in range(count))


@pytest.mark.parametrize("rows", [0, 1, 29])
def test_a_png_that_lacks_rows_is_damaged(tmp_path, rows):
    path = tmp_path / "short.png"
    path.write_bytes(png(rgb_rows(rows)))
    with pytest.raises(ImageError, match=r"short\.png is truncated or damaged"):
        open_slide(path)


def test_a_png_that_lacks_a_part_of_its_last_row_is_damaged(tmp_path):
    path = tmp_path / "short.png"
    path.write_bytes(png(rgb_rows(30)[:-1]))
    with pytest.raises(ImageError, match="truncated or damaged"):
        open_slide(path)


def test_a_png_with_all_its_rows_and_more_is_read(tmp_path):
    path = tmp_path / "whole.png"
    path.write_bytes(png(rgb_rows(30) + b"more"))
    assert open_slide(path).levels[0].shape[:2] == (30, 40)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (37, 23)])
def test_pngs_of_every_kind_are_whole(tmp_path, mode, size):
    path = tmp_path / "kind.png"
    source = np.frombuffer(noise(size[0] * size[1] * 3), np.uint8).reshape(size[1], size[0], 3)
    deep = Image.fromarray(source[..., 0].astype(np.uint16) * 200)
    picture = deep if mode == "I;16" else Image.fromarray(source).convert(mode)
    picture.save(path)
    assert open_slide(path).levels[0].shape[:2] == size[::-1]


@pytest.mark.parametrize("size", [(1, 1), (5, 5), (9, 3), (40, 30)])
def test_an_interlaced_png_is_whole_by_its_seven_passes(tmp_path, size):
    width, height = size
    starts = [
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ]
    rows = b""
    for left, top, across, down in starts:
        columns = len(range(left, width, across))
        rows += b"".join(b"\0" + noise(columns) for _ in range(top, height, down) if columns)
    path = tmp_path / "interlaced.png"
    path.write_bytes(png(rows, width=width, height=height, colour=0, interlaced=1))
    assert open_slide(path).levels[0].shape[:2] == (height, width)
    path.write_bytes(png(rows[:-1], width=width, height=height, colour=0, interlaced=1))
    with pytest.raises(ImageError, match="truncated or damaged"):
        open_slide(path)
