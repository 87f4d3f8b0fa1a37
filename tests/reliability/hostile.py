"""Files that claim more than they are, or name what is not theirs: each a few KB to a few MB.

``python -m tests.reliability.hostile FOLDER [NAME ...]`` makes them one by one in a folder, reads each by the
program's own readers in a process of its own, and prints what was said and what it took as lines of JSON.
"""

from __future__ import annotations

import gzip
import importlib
import io
import json
import os
import shutil
import signal
import sqlite3
import struct
import sys
import time
import traceback
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
import zarr
from PIL import Image

MEGA = 1_000_000


@dataclass(frozen=True)
class Hostile:
    """One such file.

    Attributes
    ----------
    name
        Which.
    reader
        What reads it; one of `READERS`.
    make
        Writes it into a folder and returns it.
    accepted
        Whether it may also be read: it is large, but within what is promised.
    """

    name: str
    reader: str
    make: Callable[[Path], Path]
    accepted: bool = False


HOSTILE: dict[str, Hostile] = {}


def hostile(reader: str, accepted: bool = False, **variants: object) -> Callable[[Callable], Callable]:
    """Enter a function that makes a file, once for each of the variants, its name with theirs."""

    def enter(make: Callable) -> Callable:
        name = make.__name__.replace("_", "-")
        for variant, value in (variants or {"": None}).items():
            full = f"{name}-{variant}".replace("_", "-") if variant else name
            work = (lambda folder, value=value: make(folder, value)) if variant else make
            HOSTILE[full] = Hostile(full, reader, work, accepted)
        return make

    return enter


# Pictures.


def png(
    width: int, height: int, colour: int = 2, depth: int = 8, rows: int | None = None, extra: bytes = b""
) -> bytes:
    """Return a PNG whose samples are all 0, without ever holding them."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    line = bytes(1 + (width * channels * depth + 7) // 8)
    packer, packed = zlib.compressobj(9), []
    block = line * max(1, 2_000_000 // len(line))
    left = len(line) * (height if rows is None else rows)
    while left > 0:
        packed.append(packer.compress(block[:left]))
        left -= len(block)
    packed.append(packer.flush())
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    palette = chunk(b"PLTE", bytes(range(6))) if colour == 3 else b""
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + palette
        + extra
        + chunk(b"IDAT", b"".join(packed))
        + chunk(b"IEND", b"")
    )


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def write(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


PNGS = {
    "rgb": (20_000, 20_000, 2, 8),
    "rgba": (20_000, 20_000, 6, 8),
    "gray": (20_000, 20_000, 0, 8),
    "gray_alpha": (20_000, 20_000, 4, 8),
    "palette": (20_000, 20_000, 3, 8),
    "gray16": (20_000, 20_000, 0, 16),
    "rgb16": (20_000, 20_000, 2, 16),
    "rgba16": (20_000, 20_000, 6, 16),
    "one_bit": (20_000, 20_000, 0, 1),
    "wide": (400_000_000, 1, 2, 8),
    "beyond": (60_000, 60_000, 2, 8),
}


@hostile("slide", accepted=True, **PNGS)
def png_of_400_megapixels(folder: Path, sizes) -> Path:
    return write(folder, "a.png", png(*sizes))


@hostile("slide", accepted=True)
def png_without_its_pixels(folder: Path) -> Path:
    return write(folder, "a.png", png(20_000, 20_000, rows=1))


@hostile("slide", accepted=True)
def png_with_opacity_table(folder: Path) -> Path:
    return write(folder, "a.png", png(20_000, 20_000, 3, extra=chunk(b"tRNS", b"\x00\x80")))


@hostile("slide")
def png_of_texts(folder: Path) -> Path:
    texts = b"".join(chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(900_000), 9)) for _ in range(2000))
    return write(folder, "a.png", png(8, 8, extra=texts))


def saved(form: str, **options) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (64, 64), "white").save(stream, form, **options)
    return stream.getvalue()


@hostile("slide", accepted=True, baseline=False, progressive=True)
def jpeg_that_says_it_is_huge(folder: Path, progressive) -> Path:
    data = bytearray(saved("JPEG", progressive=progressive))
    place = data.index(b"\xff\xc2" if progressive else b"\xff\xc0")
    data[place + 5 : place + 9] = struct.pack(">HH", 20_000, 20_000)
    return write(folder, "a.jpg", bytes(data))


@hostile("slide")
def jpeg_2000_that_says_it_is_huge(folder: Path) -> Path:
    data = bytearray(imagecodecs.jpeg2k_encode(np.zeros((64, 64, 3), np.uint8), level=0, codecformat="j2k"))
    place = data.index(b"\xff\x51")
    data[place + 6 : place + 14] = struct.pack(">II", 19_000, 19_000)
    data[place + 22 : place + 30] = struct.pack(">II", 19_000, 19_000)
    return write(folder, "a.jp2", bytes(data))


@hostile("slide", still=(16_383, 16_383), canvas=(1 << 24, 1 << 24))
def webp_that_says_it_is_huge(folder: Path, size) -> Path:
    inner = saved("WEBP", lossless=True)[12:]
    header = b"\x02\0\0\0" + (size[0] - 1).to_bytes(3, "little") + (size[1] - 1).to_bytes(3, "little")
    body = b"WEBP" + b"VP8X" + struct.pack("<I", 10) + header + inner
    return write(folder, "a.webp", b"RIFF" + struct.pack("<I", len(body)) + body)


@hostile("slide")
def bmp_that_says_it_is_huge(folder: Path) -> Path:
    data = bytearray(saved("BMP"))
    data[18:26] = struct.pack("<ii", 20_000, 20_000)
    return write(folder, "a.bmp", bytes(data))


@hostile("slide")
def gif_that_says_it_is_huge(folder: Path) -> Path:
    data = bytearray(saved("GIF"))
    data[6:10] = struct.pack("<HH", 65_535, 65_535)
    return write(folder, "a.gif", bytes(data))


@hostile("slide")
def ppm_that_says_it_is_huge(folder: Path) -> Path:
    return write(folder, "a.ppm", b"P6 20000 20000 65535\n" + bytes(1000))


@hostile("slide", png="a.png", tif="a.tif", jpg="a.jpg")
def postscript(folder: Path, name) -> Path:
    """Pillow would start Ghostscript for it."""
    program = (
        f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n({folder / 'started'}) (w) file closefile\n"
    )
    return write(folder, name, program.encode())


# TIFF.


def tiff(folder: Path, **options) -> Path:
    path = folder / "a.tif"
    tifffile.imwrite(path, np.zeros((64, 64, 3), np.uint8), photometric="rgb", **options)
    return path


def change_tag(path: Path, **values: int) -> Path:
    with tifffile.TiffFile(path, mode="r+") as file:
        for name, value in values.items():
            file.pages.first.tags[name].overwrite(value)
    return path


@hostile("slide", width=("ImageWidth",), height=("ImageLength",), both=("ImageWidth", "ImageLength"))
def tiff_that_says_it_is_huge(folder: Path, tags) -> Path:
    return change_tag(tiff(folder, compression="deflate"), **dict.fromkeys(tags, 2**31 - 1))


@hostile("slide", none=None, deflate="deflate")
def tiff_of_one_huge_tile(folder: Path, compression) -> Path:
    path = tiff(folder, tile=(64, 64), compression=compression)
    return change_tag(path, TileWidth=65_536, TileLength=65_536)


@hostile("slide", none=None, deflate="deflate")
def tiff_of_one_huge_strip(folder: Path, compression) -> Path:
    path = tiff(folder, compression=compression, rowsperstrip=64)
    return change_tag(path, ImageWidth=60_000, ImageLength=60_000, RowsPerStrip=60_000)


def tiff_of_tile(folder: Path, data: bytes, compression: int, size: int = 64, photometric: int = 2) -> Path:
    """Write a TIFF of one tile with these bytes in it."""
    tags = [
        (256, 4, size),
        (257, 4, size),
        (258, 3, 8),
        (259, 3, compression),
        (262, 3, photometric),
        (277, 3, 3),
        (322, 4, 64),
        (323, 4, 64),
        (324, 4, 8),
        (325, 4, len(data)),
    ]
    place = 8 + len(data) + len(data) % 2
    head = struct.pack("<2sHI", b"II", 42, place) + data + bytes(len(data) % 2)
    entries = b"".join(struct.pack("<HHII", code, kind, 1, value) for code, kind, value in tags)
    return write(folder, "a.tif", head + struct.pack("<H", len(tags)) + entries + bytes(4))


@hostile("slide")
def tiff_with_a_tile_that_says_it_is_huge_jpeg(folder: Path) -> Path:
    data = bytearray(saved("JPEG"))
    place = data.index(b"\xff\xc0")
    data[place + 5 : place + 9] = struct.pack(">HH", 65_500, 65_500)
    return tiff_of_tile(folder, bytes(data), 7)


@hostile("slide")
def tiff_with_a_tile_that_says_it_is_huge_jpeg_2000(folder: Path) -> Path:
    return tiff_of_tile(folder, jpeg_2000_that_says_it_is_huge(folder).read_bytes(), 33005)


@hostile("slide")
def tiff_with_a_tile_that_says_it_is_huge_webp(folder: Path) -> Path:
    return tiff_of_tile(folder, webp_that_says_it_is_huge(folder, (16_383, 16_383)).read_bytes(), 50001)


@hostile("slide")
def tiff_with_a_tile_that_says_it_is_huge_png(folder: Path) -> Path:
    return tiff_of_tile(folder, png(40_000, 40_000, rows=1), 34933)


@hostile("slide", lerc=34887, jpeg_xr=34934, jetraw=48124, eer=65000)
def tiff_of_a_rare_codec(folder: Path, compression) -> Path:
    return tiff_of_tile(folder, b"Lerc2 " + bytes(500), compression)


@hostile("slide", accepted=True, deflate=8, zstd=50000, lzma=34925)
def tiff_with_a_tile_that_unpacks_to_gigabytes(folder: Path, compression) -> Path:
    import lzma

    packer = {8: zlib.compressobj(9), 34925: lzma.LZMACompressor()}.get(compression)
    if packer is None:
        return tiff_of_tile(folder, imagecodecs.zstd_encode(bytes(1 << 30)), compression)
    data = b"".join(packer.compress(bytes(1 << 24)) for _ in range(64)) + packer.flush()
    return tiff_of_tile(folder, data, compression)


@hostile("slide")
def tiff_of_a_huge_sparse_level(folder: Path) -> Path:
    """100 tiles, of which one is there, that say they are 160,000 x 160,000 pixels."""
    path, side, count = folder / "a.tif", 16_000, 100
    tile = zlib.compress(bytes(side * side), 9)
    offsets, counts = [8, *[0] * (count - 1)], [len(tile), *[0] * (count - 1)]
    place = 8 + len(tile) + len(tile) % 2
    tags = [
        (256, 4, 1, struct.pack("<I", side * 10)),
        (257, 4, 1, struct.pack("<I", side * 10)),
        (258, 3, 1, struct.pack("<HH", 8, 0)),
        (259, 3, 1, struct.pack("<HH", 8, 0)),
        (262, 3, 1, struct.pack("<HH", 1, 0)),
        (277, 3, 1, struct.pack("<HH", 1, 0)),
        (322, 4, 1, struct.pack("<I", side)),
        (323, 4, 1, struct.pack("<I", side)),
        (324, 4, count, struct.pack("<I", place)),
        (325, 4, count, struct.pack("<I", place + 4 * count)),
    ]
    data = struct.pack("<2sHI", b"II", 42, place + 8 * count) + tile + bytes(len(tile) % 2)
    data += struct.pack(f"<{count}I", *offsets) + struct.pack(f"<{count}I", *counts)
    data += struct.pack("<H", len(tags))
    data += b"".join(struct.pack("<HHI", code, kind, n) + value for code, kind, n, value in tags) + bytes(4)
    path.write_bytes(data)
    return path


@hostile("slide")
def tiff_of_very_many_pages(folder: Path) -> Path:
    """300,000 directories of one tag each."""
    count, parts = 300_000, [struct.pack("<2sHI", b"II", 42, 8)]
    for number in range(count):
        following = 8 + 18 * (number + 1) if number + 1 < count else 0
        parts.append(struct.pack("<HHHIII", 1, 256, 4, 1, 1, following))
    return write(folder, "a.tif", b"".join(parts))


@hostile("slide")
def tiff_of_many_channels(folder: Path) -> Path:
    path = folder / "a.tif"
    tifffile.imwrite(path, np.zeros((8, 8, 5), np.uint8), photometric="minisblack", compression="deflate")
    return change_tag(path, ImageWidth=7000, ImageLength=9000, SamplesPerPixel=60_000)


@hostile("slide")
def tiff_of_doubles(folder: Path) -> Path:
    """It says that it is 63 megapixels of four doubles each."""
    path = folder / "a.tif"
    tifffile.imwrite(path, np.zeros((64, 64, 4)), photometric="rgb", compression="deflate", rowsperstrip=64)
    return change_tag(path, ImageWidth=9000, ImageLength=7000, RowsPerStrip=7000)


@hostile("slide")
def ome_of_entities(folder: Path) -> Path:
    names = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    text = f'<?xml version="1.0"?><!DOCTYPE OME [<!ENTITY a0 "aaaaaaaaaa">{names}]><OME>&a9;</OME>'
    return tiff(folder, description=text, metadata=None)


@hostile("slide", accepted=True, up="../secret.tif", absolute="/etc/passwd", pipe="pipe")
def ome_that_names_another_file(folder: Path, name) -> Path:
    """Tifffile opens what the metadata name, a pipe too, on which it would wait for ever."""
    if name == "pipe" and hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe")
    text = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        '<Image ID="Image:0">'
        '<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="64" SizeY="64" SizeC="3" SizeZ="1" '
        'SizeT="2"><Channel ID="Channel:0" SamplesPerPixel="3"/><TiffData IFD="0" FirstT="0" PlaneCount="1"/>'
        f'<TiffData IFD="0" FirstT="1" PlaneCount="1"><UUID FileName="{name}">urn:uuid:1</UUID></TiffData>'
        "</Pixels></Image></OME>"
    )
    return tiff(folder, description=text, metadata=None)


# Labels.


@hostile("labels", accepted=True, gray=0, gray_alpha=4, rgb=2, rgba=6, palette=3)
def label_png_of_400_megapixels(folder: Path, colour) -> Path:
    return write(folder, "a.png", png(20_000, 20_000, colour))


@hostile("labels", accepted=True)
def label_png_of_16_bits(folder: Path) -> Path:
    return write(folder, "a.png", png(20_000, 20_000, 0, 16))


@hostile("labels")
def label_postscript(folder: Path) -> Path:
    return postscript(folder, "a.png")


@hostile("labels")
def label_tiff_that_says_it_is_huge(folder: Path) -> Path:
    return tiff_of_one_huge_strip(folder, "deflate")


@hostile("labels")
def label_tiff_with_a_tile_that_says_it_is_huge(folder: Path) -> Path:
    return tiff_with_a_tile_that_says_it_is_huge_jpeg(folder)


@hostile("labels")
def label_tiff_of_as_many_values_as_pixels(folder: Path) -> Path:
    path = folder / "a.tif"
    tifffile.imwrite(path, np.arange(3000 * 3000, dtype=np.uint32).reshape(3000, 3000), compression="deflate")
    return path


@hostile("labels", claimed=False, real=True)
def npz_of_a_huge_array(folder: Path, real) -> Path:
    shape, path = (40_000, 40_000) if real else (10**7, 10**7), folder / "a.npz"
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("labels.npy", "w") as member,
    ):
        member.write(header.getvalue())
        for _ in range(shape[0] * shape[1] // (1 << 24) if real else 1):
            member.write(bytes(1 << 24))
    return path


@hostile("labels")
def npz_of_objects(folder: Path) -> Path:
    path = folder / "a.npz"
    np.savez(path, labels=np.array([{}], object))
    return path


@hostile(
    "labels",
    shape=((10**6, 10**6), (512, 512)),
    chunk=((64, 64), (10**6, 10**6)),
    both=((40_000, 40_000),) * 2,
)
def zarr_of_1_kb(folder: Path, sizes) -> Path:
    shape, chunks = sizes
    group = zarr.open_group(folder / "a.zarr", mode="w", zarr_format=2)
    group.create_array(
        "0", shape=shape, chunks=chunks, dtype="uint8", chunk_key_encoding={"name": "v2", "separator": "/"}
    )
    group.attrs.put({"multiscales": [{"datasets": [{"path": "0"}]}]})
    (folder / "a.zarr" / "0" / "0").mkdir()
    (folder / "a.zarr" / "0" / "0" / "0").write_bytes(zlib.compress(bytes(MEGA)))
    return folder / "a.zarr"


@hostile("labels", zstd="zstd", zlib="zlib", blosc="blosc", gzip="gzip")
def zarr_with_a_chunk_that_unpacks_to_gigabytes(folder: Path, codec) -> Path:
    import numcodecs

    group = zarr.open_group(folder / "a.zarr", mode="w", zarr_format=2)
    config = numcodecs.get_codec({"id": codec})
    group.create_array(
        "0",
        shape=(64, 64),
        chunks=(64, 64),
        dtype="uint8",
        compressors=config,
        chunk_key_encoding={"name": "v2", "separator": "/"},
    )
    group.attrs.put({"multiscales": [{"datasets": [{"path": "0"}]}]})
    (folder / "a.zarr" / "0" / "0").mkdir(exist_ok=True)
    if codec in ("zlib", "gzip"):
        packer = zlib.compressobj(9, wbits=31 if codec == "gzip" else 15)
        data = b"".join(packer.compress(bytes(1 << 24)) for _ in range(500)) + packer.flush()
    else:
        data = bytes(config.encode(np.zeros(2_000_000_000, np.uint8)))
    (folder / "a.zarr" / "0" / "0" / "0").write_bytes(data)
    return folder / "a.zarr"


@hostile("labels", up="../secret", absolute="/etc", itself=".")
def zarr_that_names_another_folder(folder: Path, name) -> Path:
    group = zarr.open_group(folder / "secret", mode="w", zarr_format=2)
    group.create_array("0", shape=(64, 64), chunks=(64, 64), dtype="uint8")[:] = 2
    group = zarr.open_group(folder / "a.zarr", mode="w", zarr_format=2)
    group.attrs.put({"multiscales": [{"datasets": [{"path": f"{name}/0" if name != "." else name}]}]})
    return folder / "a.zarr"


def geojson(rings: list) -> str:
    return json.dumps(
        {
            "type": "Feature",
            "properties": {"classification": {"name": "foreground"}},
            "geometry": {"type": "Polygon", "coordinates": rings},
        }
    )


@hostile("labels")
def geojson_zigzag(folder: Path) -> Path:
    points = [[n % 4000, 0 if n % 2 else 4000] for n in range(200_000)]
    return write(folder, "a.geojson", geojson([points]).encode())


@hostile("labels")
def geojson_of_very_many_large_outlines(folder: Path) -> Path:
    square = [[0, 0], [4000, 0], [4000, 4000], [0, 4000]]
    features = [json.loads(geojson([square])) for _ in range(10_000)]
    return write(folder, "a.geojson", json.dumps(features).encode())


@hostile("labels")
def geojson_of_very_many_holes(folder: Path) -> Path:
    square = [[0, 0], [4000, 0], [4000, 4000], [0, 4000]]
    return write(folder, "a.geojson", geojson([square] * 20_000).encode())


@hostile("labels", list="[", collection='{"type": "GeometryCollection", "geometries": [')
def geojson_nested_deeply(folder: Path, start) -> Path:
    ends = {"[": "]", "{": "]}"}[start[0]]
    return write(folder, "a.geojson", (start * 200_000 + ends * 200_000).encode())


@hostile("labels")
def geojson_nested_a_little_less(folder: Path) -> Path:
    inner = '{"type": "GeometryCollection", "geometries": ['
    return write(folder, "a.geojson", (inner * 450 + "]}" * 450).encode())


@hostile(
    "labels",
    accepted=True,
    digits="9" * 5000,
    infinite="1e999",
    nan="NaN",
    far="1e300",
    boolean="true",
    text='"x"',
)
def geojson_of_no_numbers(folder: Path, number) -> Path:
    text = geojson([[[0, 0], [10, 0], [10, 1234.5]]]).replace("1234.5", number)
    return write(folder, "a.geojson", text.encode())


@hostile("labels")
def geojson_that_unpacks_to_gigabytes(folder: Path) -> Path:
    path = folder / "a.geojson.gz"
    with gzip.open(path, "wb") as file:
        for _ in range(250):
            file.write(b" " * (1 << 24))
    return path


@hostile("labels")
def geojson_that_is_costly_to_take_apart(folder: Path) -> Path:
    return write(folder, "a.geojson", b"[" + b"[],[]," * (60 * MEGA // 6) + b"0]")


@hostile("labels")
def histomics_of_a_huge_ellipse(folder: Path) -> Path:
    shape = {"type": "ellipse", "center": [0, 0, 0], "width": 1e300, "height": 1e300, "group": "foreground"}
    return write(folder, "a.json", json.dumps({"elements": [shape]}).encode())


# Data sets.


def dataset(folder: Path, settings: str = "") -> Path:
    root = folder / "data"
    for kind in ("benign", "malignant"):
        (root / kind).mkdir(parents=True)
        for number in range(6):
            write(root / kind, f"{number}.png", png(40 + number, 40))
    if settings:
        (root / "dataset.yaml").write_text(settings)
    return root


YAMLS = {
    "aliases": "a: &a [x]\n"
    + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(12))
    + "regionless: [*m]\n",
    "nested": "regionless: " + "[" * 20_000,
    "object": "regionless: !!python/object/apply:os.system ['touch started']",
    "long": "mpp: 1\n#" + "x" * 30 * MEGA,
    "digits": "mpp: " + "9" * 5000,
}


@hostile("dataset", **YAMLS)
def dataset_yaml(folder: Path, text) -> Path:
    return dataset(folder, text)


@hostile("dataset")
def dataset_of_postscript(folder: Path) -> Path:
    root = dataset(folder)
    postscript(root / "benign", "9.png")
    return root


@hostile("dataset", accepted=True, image="benign/3.png", mask="masks/benign/3.png")
def dataset_with_a_huge(folder: Path, name) -> Path:
    root = dataset(folder)
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    write(root, name, png(20_000, 20_000, 2 if "mask" not in name else 0))
    return root


@hostile(
    "dataset", up="../secret.png", absolute="/etc/passwd", backslash="..\\secret.png", link="link/secret.png"
)
def dataset_table_that_names_another_file(folder: Path, name) -> Path:
    root = dataset(folder)
    write(folder, "secret.png", png(40, 40))
    if name.startswith("link"):
        (root / "link").symlink_to(folder)
    lines = [f"benign/{n}.png,a" for n in range(6)] + [f"malignant/{n}.png,b" for n in range(6)]
    (root / "labels.csv").write_text("\n".join(["image,labels", *lines, f"{name},a"]) + "\n")
    return root


# Models.


def card(**values) -> dict[str, str]:
    from dataclasses import asdict

    from pixelcam.model import ModelCard
    from pixelcam.model.checkpoint import FORMAT

    known = ModelCard(encoder="test_efficientnet", classes=("a", "b"), input_size=64)
    return {"format": FORMAT, "card": json.dumps(asdict(known) | values)}


def safetensors(metadata: dict[str, str], tensors: dict[str, tuple[str, list[int], int]]) -> bytes:
    """Return a safetensors file; of each tensor its type, its shape and its bytes."""
    header: dict[str, object] = {"__metadata__": metadata}
    place = 0
    for name, (kind, shape, size) in tensors.items():
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [place, place + size]}
        place += size
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(place)


@hostile(
    "model", vit="vit_giant_patch14_dinov2", eva="eva02_enormous_patch14_clip_224", regnet="regnety_1280"
)
def checkpoint_of_a_giant_encoder(folder: Path, encoder) -> Path:
    data = safetensors(card(encoder=encoder), {"encoder.x": ("F32", [1], 4)})
    return write(folder, "a.safetensors", data)


@hostile("model")
def checkpoint_of_very_many_classes(folder: Path) -> Path:
    data = safetensors(card(classes=[f"c{n}" for n in range(MEGA)]), {"encoder.x": ("F32", [1], 4)})
    return write(folder, "a.safetensors", data)


@hostile("model")
def checkpoint_of_much_that_is_familiar(folder: Path) -> Path:
    tensors = {"familiarity.variances": ("F32", [MEGA], 4 * MEGA), "familiarity.shown": ("F32", [MEGA, 0], 0)}
    return write(folder, "a.safetensors", safetensors(card(), tensors))


@hostile("model", header=2**40, negative=2**64 - 1, whole=10**8)
def checkpoint_with_a_header_that_says_it_is_huge(folder: Path, length) -> Path:
    return write(folder, "a.safetensors", length.to_bytes(8, "little") + b'{"a":1}' + bytes(100))


@hostile("model")
def checkpoint_with_a_tensor_that_says_it_is_huge(folder: Path) -> Path:
    data = safetensors(card(), {"encoder.x": ("F32", [10**9, 10**9], 4)})
    return write(folder, "a.safetensors", data)


@hostile(
    "model", input_size=("input_size", 10**9), levels=("levels", [10**9]), card=("trained_on", "x" * 10**7)
)
def checkpoint_that_says(folder: Path, what) -> Path:
    return write(folder, "a.safetensors", safetensors(card(**dict([what])), {"encoder.x": ("F32", [1], 4)}))


@hostile("model")
def checkpoint_with_a_card_nested_deeply(folder: Path) -> Path:
    metadata = {"format": card()["format"], "card": "[" * 200_000}
    return write(folder, "a.safetensors", safetensors(metadata, {"encoder.x": ("F32", [1], 4)}))


@hostile("weights")
def weights_that_unpack_to_gigabytes(folder: Path) -> Path:
    """100 tensors of 4 GB each, by the archive's own list."""
    import torch

    path = folder / "a.pth"
    torch.save({f"a{n}": torch.zeros(4) for n in range(100)}, path)
    data = bytearray(path.read_bytes())
    place = data.find(b"PK\x01\x02")
    while place >= 0:
        name = bytes(data[place + 46 : place + 46 + int.from_bytes(data[place + 28 : place + 30], "little")])
        if b"/data/" in name:
            data[place + 24 : place + 28] = (2**32 - 16).to_bytes(4, "little")
        place = data.find(b"PK\x01\x02", place + 4)
    return write(folder, "a.pth", bytes(data))


@hostile("weights")
def weights_that_repeat_one_value(folder: Path) -> Path:
    import torch

    torch.save({"a": torch.zeros(1).expand(10**6, 10**6)}, folder / "a.pth")
    return folder / "a.pth"


@hostile("weights")
def weights_that_are_sparse(folder: Path) -> Path:
    import torch

    torch.sparse.check_sparse_tensor_invariants.disable()
    torch.save(
        {"a": torch.sparse_coo_tensor(torch.tensor([[0], [0]]), torch.ones(1), (10**6, 10**6))},
        folder / "a.pth",
    )
    return folder / "a.pth"


# Seeds and results.


def exported(folder: Path) -> Path:
    from pixelcam.export import SeedImage, SeedSidecar, write_seeds
    from pixelcam.slides import open_slide

    slide = open_slide(write(folder, "image.png", png(64, 64)))
    labels = np.zeros((64, 64), np.uint8)
    labels[:9], labels[20:29] = 1, 2
    write_seeds(folder / "seeds", labels, SeedSidecar(SeedImage.of(slide)))
    return folder / "seeds"


SIDECARS = {
    "file_up": ("file", "../secret.png"),
    "file_absolute": ("file", "/etc/passwd"),
    "file_folder": ("file", ".."),
    "file_nothing": ("file", ""),
    "file_backslash": ("file", "..\\secret.png"),
    "scale_tiny": ("scale", [1e-300, 1e-300]),
    "scale_small": ("scale", [1e-5, 1e-5]),
    "scale_huge": ("scale", [1e300, 1e300]),
    "labels": ("labels", "x" * MEGA),
    "deep": ("reviewer", None),
}


@hostile("seeds", **SIDECARS)
def sidecar_with(folder: Path, change) -> Path:
    place = exported(folder)
    write(folder, "secret.png", png(64, 64, 0))
    (path,) = place.glob("*.seeds.json")
    values = json.loads(path.read_text()) | dict([change])
    text = json.dumps(values)
    if change[0] == "reviewer":
        text = text.replace('"reviewer": null', '"reviewer": ' + "[" * 200_000 + "]" * 200_000)
    path.write_text(text)
    return place


@hostile("seeds", accepted=True, png="png", npz="npz")
def seeds_that_are_huge(folder: Path, form) -> Path:
    place = exported(folder)
    (path,) = place.glob("*.seeds.json")
    values = json.loads(path.read_text())
    (array,) = place.glob("*.seeds.png")
    if form == "png":
        array.write_bytes(png(20_000, 20_000, 0))
    else:
        values["file"] = array.with_suffix(".npz").name
        npz_of_a_huge_array(folder, True).replace(array.with_suffix(".npz"))
    values["image"] |= {"width": 20_000, "height": 20_000}
    path.write_text(json.dumps(values))
    return place


@hostile("result", up="../secret.tif", absolute="/etc/passwd", folder="..", number=7, nothing="")
def result_that_names(folder: Path, name) -> Path:
    return write(folder, "a.json", json.dumps(summary(name)).encode())


@hostile("result")
def result_that_is_huge(folder: Path) -> Path:
    tiff_of_one_huge_strip(folder, "deflate").rename(folder / "a.fg.tif")
    return write(folder, "a.json", json.dumps(summary("a.fg.tif")).encode())


@hostile("result")
def result_nested_deeply(folder: Path) -> Path:
    return write(folder, "a.json", b'{"fg": ' + b"[" * 200_000)


def summary(name: object) -> dict:
    return {
        "classes": {"a": 1.0},
        "threshold": 0.5,
        "model": {"name": "m", "sha256": "0" * 64},
        "image": {"width": 64, "height": 64, "mpp": None},
        "fg": {"file": name, "scale": [1, 1], "translate": [0, 0]},
    }


# Projects.


def project(folder: Path) -> Path:
    from pixelcam.localize import Localization, ModelRef
    from pixelcam.review import Project

    write(folder, "image.png", png(64, 48))
    place = folder / "project"
    with Project.create(place, reviewer="Ann") as work:
        (image,) = work.add_images([folder / "image.png"])
        work.write_seeds(image.id, (0, 0, 8, 8), np.full((8, 8), 2, np.uint8))
        work.write_seeds(image.id, (20, 20, 28, 28), np.full((8, 8), 1, np.uint8))
        foreground = np.linspace(0, 1, 12 * 16, dtype=np.float32).reshape(12, 16)
        for model in "ab":
            work.keep_localization(
                image.id,
                Localization(
                    image_name="image",
                    width=64,
                    height=48,
                    mpp=0.5,
                    classes={"a": 0.7, "b": 0.3},
                    foreground=foreground,
                    threshold=0.5,
                    model=ModelRef(model, model * 64),
                    scale=(4, 4),
                    translate=(1.5, 1.5),
                ),
                0.2,
            )
    return place


def change_rows(place: Path, script: str, values: tuple = ()) -> Path:
    connection = sqlite3.connect(place / "project.sqlite")
    connection.execute(script, values)
    connection.commit()
    connection.close()
    return place


@hostile("project", accepted=True, thumbnail="thumbnail.png", first_map="first-map.png")
def project_with_a_bomb_as(folder: Path, name) -> Path:
    place = project(folder)
    text = chunk(b"tEXt", b"map\0" + next(place.glob("images/1/map-*")).name.encode())
    write(place / "images" / "1", name, png(20_000, 20_000, 6, extra=text))
    return place


@hostile("project", accepted=True, map="map-*.zarr", seeds="seeds-*.zarr")
def project_with_a_huge(folder: Path, pattern) -> Path:
    place = project(folder)
    note = next(place.glob(f"images/1/{pattern}")) / "zarr.json"
    values = json.loads(note.read_text())
    values["shape"] = [10**6, 10**6]
    values["chunk_grid"]["configuration"]["chunk_shape"] = [10**6, 10**6]
    note.write_text(json.dumps(values))
    return place


ROWS = {
    "grid": "UPDATE images SET grid_height = 1000000000, grid_width = 1000000000",
    "grid_and_size": "UPDATE images SET grid_height = 100000, grid_width = 100000, width = 100000, "
    "height = 100000",
    "grid_none": "UPDATE images SET grid_height = 0",
    "grid_negative": "UPDATE images SET grid_height = -5",
    "size": "UPDATE images SET width = 9000000000000000000, height = 1",
    "size_none": "UPDATE images SET width = 0, height = 0",
    "box": "UPDATE patches SET y1 = 1000000000, x1 = 1000000000",
    "classes": "UPDATE localizations SET classes = replace(hex(zeroblob(100000)), '00', '[')",
    "patch": "UPDATE patches SET after = ?",
    "map": "UPDATE localizations SET map = '../../../secret'",
}


@hostile("project", accepted=True, **ROWS)
def project_with_rows(folder: Path, script) -> Path:
    place = project(folder)
    values = ()
    if "?" in script:
        packer = zlib.compressobj(9)
        values = (b"".join(packer.compress(bytes(1 << 24)) for _ in range(100)) + packer.flush(),)
    return change_rows(place, script, values)


# Reading them.


def _read_slide(path: Path) -> None:
    from pixelcam.review.images import make_thumbnail
    from pixelcam.slides import open_slide

    slide = open_slide(path)
    make_thumbnail(slide)
    slide.read((slice(0, 64), slice(0, 64)))


def _read_labels(path: Path) -> None:
    from pixelcam.export import read_labels
    from pixelcam.slides import open_slide

    write(path.parent, "image.png", png(4000, 4000, 0))
    read_labels(path, open_slide(path.parent / "image.png"), {"0": "background", "foreground": "foreground"})


def _read_dataset(path: Path) -> None:
    from pixelcam.datasets import open_dataset
    from pixelcam.datasets.reading import load_image, load_mask

    for split in ("train", "valcl", "test"):
        for sample in open_dataset("folder", path, split).samples:
            load_image(sample, 64)
            if sample.mask is not None:
                load_mask(sample, 64)


def _read_model(path: Path) -> None:
    from pixelcam.model import load_checkpoint

    load_checkpoint(path)


def _read_weights(path: Path) -> None:
    from pixelcam.model.encoder import Encoder, load_encoder_weights
    from pixelcam.model.weights import read_weights

    load_encoder_weights(Encoder("test_efficientnet"), read_weights(path))


def _read_seeds(path: Path) -> None:
    from pixelcam.export import read_seeds

    read_seeds(path)


def _read_result(path: Path) -> None:
    from pixelcam.export.reading import is_summary, read_localization

    is_summary(path)
    read_localization(path)


def _read_project(path: Path) -> None:
    """Do all that is done with a project; a refusal of one step is told after the others."""
    from pixelcam.errors import PixelCAMError
    from pixelcam.review import Project, merge, rescue
    from pixelcam.review.report import write_report

    refused: list[PixelCAMError] = []

    def attempt(work: Callable[[], object]) -> None:
        try:
            work()
        except PixelCAMError as error:
            refused.append(error)

    def look(reviewer: str, read_only: bool) -> None:
        with Project.open(path, reviewer=reviewer, read_only=read_only) as work:
            for image in work.images():
                for step in (work.thumbnail, work.first_map, work.localization, work.seeds, work.history):
                    attempt(lambda step=step, image=image: step(image.id))
            if not read_only:
                attempt(
                    lambda: work.write_seeds(1, (0, 0, 2, 2), np.full((2, 2), int(time.time()) % 2, np.uint8))
                )

    attempt(lambda: look("Bob", True))
    attempt(lambda: look("Ann", False))

    def report() -> None:
        with Project.open(path, reviewer="Bob", read_only=True) as work:
            write_report(work, path.parent / "report.html")

    attempt(report)
    attempt(lambda: merge(path.parent / "merged", [path], reviewer="Bob"))
    attempt(lambda: rescue(path))
    if refused:
        raise refused[0]


READERS: dict[str, Callable[[Path], None]] = {
    "slide": _read_slide,
    "labels": _read_labels,
    "dataset": _read_dataset,
    "model": _read_model,
    "weights": _read_weights,
    "seeds": _read_seeds,
    "result": _read_result,
    "project": _read_project,
}


def read(name: str, path: Path) -> dict[str, object]:
    """Read a file in this process; return what was said of it, and what that took."""
    import resource

    from pixelcam.errors import PixelCAMError

    began, said = time.monotonic(), ""
    try:
        READERS[HOSTILE[name].reader](path)
    except PixelCAMError as error:
        said = str(error)
    seconds = time.monotonic() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {"said": said, "seconds": round(seconds, 1), "gigabytes": round(peak / 1e9, 2)}


LIMIT_SECONDS = 120
"""After which a reader is ended; a busy machine is slow, an endless loop never ends."""


def try_one(name: str, place: Path) -> dict[str, object]:
    """Make a file and read it, each in a process of its own; return what was said and what it took.

    Of the keys, "raw" holds the traceback of anything but a `PixelCAMError`, or how the process ended.
    """
    place.mkdir(parents=True)
    made = _forked(lambda: {"path": str(HOSTILE[name].make(place))})
    if "path" not in made:
        return {"name": name, "raw": f"not made: {made}"}
    return {"name": name, **_forked(lambda: read(name, Path(str(made["path"]))))}


def _forked(work: Callable[[], dict[str, object]]) -> dict[str, object]:
    """Return what a function gives in a copy of this process, which shares nothing else with it."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            signal.alarm(LIMIT_SECONDS)
            found = work()
        except BaseException:
            found = {"raw": traceback.format_exc()}
        with os.fdopen(writing, "w") as stream:
            stream.write(json.dumps(found))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as stream:
        text = stream.read()
    _, status = os.waitpid(child, 0)
    return json.loads(text) if text else {"raw": f"ended by signal {status}"}


def main(arguments: list[str]) -> None:
    if arguments[0] == "--read":
        print(json.dumps(read(arguments[1], Path(arguments[2]))))
        return
    for module in ("errors", "datasets", "export", "localize", "review", "review.report_page", "model"):
        importlib.import_module(f"pixelcam.{module}")  # once, not in every copy
    folder, names = Path(arguments[0]), arguments[1:] or list(HOSTILE)
    for name in names:
        print(json.dumps(try_one(name, folder / name)), flush=True)
        shutil.rmtree(folder / name)


if __name__ == "__main__":
    main(sys.argv[1:])
