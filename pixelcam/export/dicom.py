"""Maps and regions as DICOM segmentations, through highdicom, which is an extra."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

import pixelcam
from pixelcam.errors import ConfigError
from pixelcam.export.areas import ImageAreas, Pair, areas_of_map
from pixelcam.export.marks import mark_text, replacing

if TYPE_CHECKING:
    from pixelcam.localize import Localization

MAXIMUM = 255
"""What stands for a probability of 1 in a fractional segmentation."""

_TILE = 512
_VL_WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
_LONG_STRING = 64
_GROUP, _CREATOR = 0x0099, "napari-pixelcam"
"""Of the private element that holds a file's mark."""


class _Placed(Protocol):
    """An array and the image that it lies on."""

    @property
    def image_name(self) -> str: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def mpp(self) -> float | None: ...
    @property
    def scale(self) -> Pair: ...
    @property
    def translate(self) -> Pair: ...
    @property
    def about(self) -> dict[str, Any]: ...


def write_dicom_map(path: str | Path, localization: Localization) -> Path:
    """Write the foreground probability as a FRACTIONAL segmentation of one segment, in steps of 1 / 255.

    The segment is labelled by the predicted class. Tiles of up to 512 x 512 pixels cover the map
    (TILED_FULL). The image itself need not be DICOM: the segmentation refers to a VL whole slide microscopy
    image whose identifiers follow from the image's name, fingerprint, size and pixel size, so that all
    segmentations of one image share study and frame of reference, and those of two never do. Format: DICOM
    PS3.3, A.51.

    Raises
    ------
    ConfigError
        highdicom is not installed, or the pixel size is unknown, without which DICOM places nothing.
    OutputError
        The file cannot be written, or another is in the way.
    """
    areas = areas_of_map(localization)
    return _write(path, np.asarray(localization.foreground, np.float32)[None], "FRACTIONAL", areas)


def write_dicom_areas(path: str | Path, areas: ImageAreas) -> Path:
    """Write named areas as a BINARY segmentation, one segment an area; the rest as `write_dicom_map`.

    Raises
    ------
    ConfigError, OutputError
        As `write_dicom_map`.
    """
    masks = np.stack([area.mask for area in areas.areas], axis=-1).astype(np.uint8)
    return _write(path, masks[None], "BINARY", areas)


def _write(path: str | Path, pixels: NDArray[Any], kind: str, areas: ImageAreas) -> Path:
    path = Path(path)
    highdicom = _highdicom()
    segmentation = highdicom.seg.Segmentation(
        source_images=[_source(areas, (pixels.shape[1], pixels.shape[2]))],
        pixel_array=pixels,
        segmentation_type=kind,
        segment_descriptions=_segments(areas),
        series_instance_uid=highdicom.UID(),
        series_number=1,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="napari-pixelcam",
        manufacturer_model_name="PixelCAM",
        software_versions=pixelcam.__version__,
        device_serial_number="0",
        max_fractional_value=MAXIMUM,
        content_description=_long_string(f"PixelCAM {areas.image_name}"),
        content_creator_name=_person(areas.reviewer),
        omit_empty_frames=False,
        dimension_organization_type="TILED_FULL",
        tile_pixel_array=True,
    )
    private = segmentation.private_block(_GROUP, _CREATOR, create=True)
    private.add_new(0x01, "UT", mark_text(areas.about))
    with replacing(path, areas.about) as temporary:
        segmentation.save_as(temporary)
    return path


def read_private(path: Path) -> str:
    """Return the text that `write_dicom_map` and `write_dicom_areas` leave in a file of their own.

    Raises
    ------
    Exception
        Of pydicom's many: the file is no DICOM, or not of these.
    """
    import pydicom

    tags = [(_GROUP, number) for number in (0x0010, 0x1001)]
    dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=tags)
    return str(dataset.private_block(_GROUP, _CREATOR)[0x01].value)


def _highdicom() -> Any:
    try:
        import highdicom
    except ImportError as error:
        raise ConfigError(
            "DICOM files need the package highdicom, which is not installed; "
            "run: pip install 'napari-pixelcam[dicom]'."
        ) from error
    return highdicom


def _segments(areas: ImageAreas) -> Sequence[Any]:
    highdicom = _highdicom()
    from pydicom.sr.codedict import codes

    made_by: dict[str, Any] = {"algorithm_type": "MANUAL"}
    if areas.model:
        algorithm = highdicom.AlgorithmIdentificationSequence(
            name=_long_string(f"PixelCAM {areas.model}"),
            family=codes.DCM.ArtificialIntelligence,
            version=pixelcam.__version__,
        )
        made_by = {"algorithm_type": "AUTOMATIC", "algorithm_identification": algorithm}
    return [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=_long_string(area.name),
            segmented_property_category=codes.SCT.Tissue,
            segmented_property_type=highdicom.sr.CodedConcept(
                value=f"AREA{number}", scheme_designator="99PIXELCAM", meaning=_long_string(area.name)
            ),
            display_color=highdicom.color.CIELabColor.from_rgb(*area.colour),
            **made_by,
        )
        for number, area in enumerate(areas.areas, start=1)
    ]


def _source(areas: _Placed, shape: tuple[int, int]) -> Any:
    """Describe the image, at the resolution of the array, as the whole slide image that is referred to."""
    from pydicom.dataset import Dataset

    if areas.mpp is None:
        raise ConfigError(
            f"DICOM needs the pixel size of {areas.image_name}, which is unknown; "
            "localize it again with --mpp, or save the image with its pixel size."
        )
    (sy, sx), (ty, tx) = areas.scale, areas.translate
    millimetres = areas.mpp / 1000
    now = datetime.now()
    source = Dataset()
    source.SpecificCharacterSet = "ISO_IR 192"
    source.SOPClassUID, source.SOPInstanceUID = _VL_WHOLE_SLIDE, _uid("image", areas, *shape)
    source.StudyInstanceUID, source.FrameOfReferenceUID = _uid("study", areas), _uid("frame", areas)
    source.SeriesInstanceUID = _uid("series", areas)
    source.Modality = "SM"
    source.PatientID = _long_string(areas.image_name)
    source.PatientName = source.PatientBirthDate = source.PatientSex = ""
    source.AccessionNumber = source.StudyID = source.ReferringPhysicianName = ""
    source.StudyDate, source.StudyTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    source.ImageType = ["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED"]
    # Frames of one bit a pixel that end within a byte are not read alike everywhere.
    source.Rows, source.Columns = (min(_TILE, -(-side // 8) * 8) for side in shape)
    source.TotalPixelMatrixRows, source.TotalPixelMatrixColumns = shape
    source.NumberOfFrames = -(-shape[0] // source.Rows) * -(-shape[1] // source.Columns)
    source.DimensionOrganizationType = "TILED_FULL"
    source.ImageOrientationSlide = [0, -1, 0, -1, 0, 0]
    origin = Dataset()
    # By this orientation, the usual one, the slide's x falls along a column and its y along a row.
    origin.XOffsetInSlideCoordinateSystem = round(-ty * millimetres, 9)
    origin.YOffsetInSlideCoordinateSystem = round(-tx * millimetres, 9)
    source.TotalPixelMatrixOriginSequence = [origin]
    measures = Dataset()
    measures.PixelSpacing = [round(sy * millimetres, 12), round(sx * millimetres, 12)]
    measures.SliceThickness = millimetres
    shared = Dataset()
    shared.PixelMeasuresSequence = [measures]
    source.SharedFunctionalGroupsSequence = [shared]
    return source


def _uid(role: str, areas: _Placed, *more: int) -> str:
    """Return a UID that is the same for the same image (PS3.5, B.2: 2.25 and a number of 128 bits)."""
    image = areas.about.get("image", {})
    known = image.get("pixels") or image.get("fingerprint") or ""
    text = repr((role, areas.image_name, known, areas.width, areas.height, areas.mpp, *more))
    return f"2.25.{int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], 'big')}"


def _person(name: str) -> str | None:
    """Return a name as DICOM's PN; the caret tells that its parts are not known."""
    plain = _long_string(name).translate({ord("^"): " ", ord("="): " "})
    return f"{plain}^" if plain else None


def _long_string(text: str) -> str:
    """Return text as DICOM's LO may hold it: no backslash, no control characters, 64 characters."""
    return "".join("/" if c == "\\" else c for c in text if c.isprintable())[:_LONG_STRING].strip()
