"""The formats that results and seeds can be asked for in."""

from __future__ import annotations

from enum import StrEnum


class Format(StrEnum):
    """What results and seeds can be written as."""

    GEOJSON = "geojson"
    HISTOMICS = "histomics"
    COCO = "coco"
    PNG = "png"
    MASK = "mask"
    NPZ = "npz"
    OME_TIFF = "ome-tiff"
    OME_ZARR = "ome-zarr"
    DICOM_SEG = "dicom-seg"
