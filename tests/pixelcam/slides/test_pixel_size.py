"""The pixel size is what the file says where it says so, and unknown otherwise."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from pixelcam.slides import open_slide
from pixelcam.slides.pixel_size import parse_length, parse_number

PIXELS = np.zeros((8, 8, 3), np.uint8)


def mpp_of(path, pixels=PIXELS, **options):
    tifffile.imwrite(path, pixels, photometric="rgb", **options)
    return open_slide(path).mpp


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.tif"


@pytest.mark.parametrize(
    ("size", "unit", "mpp"),
    [
        (0.25, "µm", 0.25),
        (250.0, "nm", 0.25),
        (0.0005, "mm", 0.5),
        (0.3, None, 0.3),
        (1.0, "pixel", None),
        (0.0005, None, None),
        (352.77, "µm", None),
    ],
)
def test_ome_metadata(path, size, unit, mpp):
    metadata = {"PhysicalSizeX": size, "PhysicalSizeY": size}
    if unit is not None:
        metadata |= {"PhysicalSizeXUnit": unit, "PhysicalSizeYUnit": unit}
    assert mpp_of(path, ome=True, metadata=metadata) == pytest.approx(mpp)


def test_ome_metadata_beat_the_tags(path):
    options = {"resolution": (40000, 40000), "resolutionunit": "centimeter"}
    metadata = {"PhysicalSizeX": 0.3, "PhysicalSizeY": 0.3}
    assert mpp_of(path, ome=True, metadata=metadata, **options) == pytest.approx(0.3)


def test_ome_metadata_are_those_of_the_image_that_is_shown(path):
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(PIXELS[:4, :4], photometric="rgb", metadata={"PhysicalSizeX": 4.0, "PhysicalSizeY": 4.0})
        writer.write(PIXELS, photometric="rgb", metadata={"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5})
    slide = open_slide(path)
    assert (slide.width, slide.mpp) == (8, 0.5)


def test_aperio_description(path):
    text = "Aperio Image Library v11.2.1\n8x8 Q=70|AppMag = 20|MPP = 0.4990|Left = 1"
    options = {"tile": (16, 16), "metadata": None}
    assert mpp_of(path, description=text, **options) == 0.499
    assert mpp_of(path, description=text.replace("0.4990", "352.77"), **options) is None
    assert mpp_of(path, description=text.replace("MPP", "Other"), **options) is None
    assert mpp_of(path, description=text.replace("0.4990", "unknown"), **options) is None
    assert mpp_of(path, description=text.replace("0.4990", "0.4.9"), **options) is None


@pytest.mark.parametrize("unit", ["micron", "um", "\\u00B5m"])
def test_imagej_unit(path, unit):
    options = {"imagej": True, "metadata": {"unit": unit}}
    assert mpp_of(path, resolution=(4, 4), resolutionunit="none", **options) == pytest.approx(0.25)


def test_resolution_tags_with_a_real_unit(path):
    assert mpp_of(path, resolution=(40000, 40000), resolutionunit="centimeter") == pytest.approx(0.25)
    assert mpp_of(path, resolution=(50800, 50800), resolutionunit="inch") == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("resolution", "unit"),
    [
        ((72, 72), "inch"),
        ((300, 300), "inch"),
        ((1, 1), "centimeter"),
        ((40000, 40000), "none"),
        ((10**7, 10**7), "centimeter"),
        ((40000, 20000), "centimeter"),
        ((0, 0), "centimeter"),
    ],
)
def test_resolution_tags_that_tell_no_pixel_size(path, resolution, unit):
    assert mpp_of(path, resolution=resolution, resolutionunit=unit) is None


def test_a_file_that_says_nothing(path):
    assert mpp_of(path) is None


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0.25", 0.25),
        ("0,2500", 0.25),
        ("1,5000", 1.5),
        (".5", 0.5),
        (",5", 0.5),
        ("2.5e-1", 0.25),
        ("2,5E-1", 0.25),
        ("250", 250),
        ("1,024.5", 1024.5),
        ("1.024,5", 1024.5),
        ("1,024,000", 1024000),
        ("1 024,5", 1024.5),
        ("1'024.5", 1024.5),
        ("1\u202f024,5", 1024.5),
        ("-0,25", -0.25),
        (" 0,25 ", 0.25),
        ("9" * 400, float("inf")),
    ],
)
def test_numbers_of_any_locale_are_numbers(text, number):
    assert parse_number(text) == number


@pytest.mark.parametrize(
    "text", ["", "unknown", "0.4.9", "1,2,3", "1.2,3.4", "--1", "0x10", "1_000", "e5", ","]
)
def test_what_is_no_number_is_none(text):
    assert np.isnan(parse_number(text))


@pytest.mark.parametrize(
    ("text", "micrometres"),
    [
        ("0.25 um", 0.25),
        ("0,25 µm/px", 0.25),
        ("0.25um/pixel", 0.25),
        ("0.25 microns per pixel", 0.25),
        ("250 nm", 0.25),
        ("0,000252 mm", 0.252),
        ("0.25 (calibrated)", 0.25),
        ("2.5e-4 mm", 0.25),
    ],
)
def test_a_length_may_have_its_unit_behind_it(text, micrometres):
    assert parse_length(text) == pytest.approx(micrometres)


@pytest.mark.parametrize("text", ["0.25 px", "72 dpi", "abc", "", "0.25 parsec"])
def test_a_length_in_no_unit_of_length_is_none(text):
    assert np.isnan(parse_length(text))


@pytest.mark.parametrize(
    ("written", "mpp"),
    [
        ("0,2500", 0.25),
        ("1,5000", 1.5),
        ("2.5e-1", 0.25),
        ("2,5E-01", 0.25),
        ("0.25 um", 0.25),
        ("0,25 µm/px", 0.25),
        ("250 nm", 0.25),
        ("0", None),
        ("-0,25", None),
        ("nan", None),
        ("inf", None),
        ("9" * 400, None),
        ("", None),
    ],
)
def test_an_aperio_description_of_any_locale(path, written, mpp):
    text = f"Aperio Image Library v11.2.1\n8x8 Q=70|AppMag = 20|MPP = {written}|Left = 1"
    assert mpp_of(path, description=text.encode(), tile=(16, 16), metadata=None) == mpp


@pytest.mark.parametrize(("x", "y"), [("0.000226891", "0.000226907"), ("0,000226891", "0,000226907")])
def test_a_philips_description(path, x, y):
    levels = "".join(
        f'<Attribute Name="DICOM_PIXEL_SPACING" Group="0x0028" PMSVR="IDoubleArray">'
        f"&quot;{a}&quot; &quot;{b}&quot;</Attribute>"
        for a, b in (("0.5", "0.5"), (x, y))
    )
    text = f'<?xml version="1.0" ?><DataObject ObjectType="DPUfsImport">{levels}</DataObject>'
    assert mpp_of(path, description=text, metadata=None) == pytest.approx(0.2269, abs=1e-4)


@pytest.mark.parametrize("written", ["0.2500", "0,25"])
def test_a_ventana_description(path, written):
    xmp = f'<EncodeInfo><iScan Magnification="40" ScanRes="{written}"/></EncodeInfo>'.encode()
    assert mpp_of(path, extratags=[(700, 1, len(xmp), xmp, True)], metadata=None) == 0.25


def test_what_libvips_copies_of_a_slide(path):
    text = "".join(
        f'<property><name>openslide.mpp-{axis}</name><value type="VipsRefString">0,25</value></property>'
        for axis in "xy"
    )
    assert mpp_of(path, description=f"<image>{text}</image>", metadata=None) == 0.25


def test_ome_sizes_of_any_locale_and_in_words(path):
    tifffile.imwrite(
        path, PIXELS, photometric="rgb", ome=True, metadata={"PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25}
    )
    original = path.read_bytes()
    for there, here in ((b'"0.25"', b'"0,25"'), (b'"0.25"', b'".250"')):
        path.write_bytes(original.replace(there, here))
        assert open_slide(path).mpp == 0.25


@pytest.mark.parametrize("dpi", [72, 96, 150, 300, 600])
def test_print_sizes_are_no_pixel_sizes(path, dpi):
    assert mpp_of(path, resolution=(dpi, dpi), resolutionunit="inch") is None
