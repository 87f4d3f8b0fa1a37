"""What is written as polygons or runs is the very mask again, whatever its shape and its grid."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pycocotools.coco import COCO

from pixelcam.export.annotations import read_annotations
from pixelcam.export.areas import grid_ring
from pixelcam.export.coco import write_coco
from pixelcam.export.filling import fill_polygon
from pixelcam.export.geojson import write_seed_geojson
from pixelcam.export.histomics import write_histomics


@pytest.mark.parametrize("write", [write_seed_geojson, write_histomics])
def test_mask_to_polygons_to_mask_is_exact(tmp_path, areas, write):
    found = read_annotations(write(tmp_path / "a.json", areas))
    assert found.fingerprint == "ab"
    for area in areas.areas:
        back = np.zeros(area.mask.shape, int)
        for annotation in found.annotations:
            for polygon in annotation.polygons if annotation.kind == area.name else ():
                filled = fill_polygon([grid_ring(ring, areas) for ring in polygon], back.shape)
                assert not filled.crosses_itself
                back[filled.window] += filled.mask
        np.testing.assert_array_equal(back, area.mask)


def enlarged(mask, height, width):
    """Return a mask at the image's size, each pixel as the square that holds its centre."""
    rows = np.floor((np.arange(height) + 0.5) * mask.shape[0] / height + 1e-9).astype(int)
    columns = np.floor((np.arange(width) + 0.5) * mask.shape[1] / width + 1e-9).astype(int)
    return mask[np.ix_(rows, columns)]


# pycocotools hands numpy an array in an older way.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("compressed", [True, False])
def test_pycocotools_reads_the_masks_at_the_images_size(tmp_path, areas, compressed, capsys):
    coco = COCO(write_coco(tmp_path / "a.json", areas, compressed))
    image = coco.loadImgs(1)[0]
    assert (image["file_name"], image["width"], image["height"]) == ("field.png", areas.width, areas.height)
    for area in areas.areas:
        wanted = enlarged(area.mask, areas.height, areas.width)
        back = np.zeros(wanted.shape, int)
        (category,) = coco.getCatIds(catNms=[area.name])
        for annotation in coco.loadAnns(coco.getAnnIds(catIds=[category])):
            mask = coco.annToMask(annotation)
            back += mask
            rows, columns = np.nonzero(mask)
            assert annotation["area"] == len(rows)
            x, y, width, height = annotation["bbox"]
            assert (x, y) == (columns.min(), rows.min())
            assert (x + width, y + height) == (columns.max() + 1, rows.max() + 1)
        np.testing.assert_array_equal(back, wanted)


def test_where_areas_come_from_goes_along(tmp_path, areas):
    assert json.loads(write_coco(tmp_path / "a", areas).read_text())["info"]["pixelcam"] == areas.about
    written = json.loads(write_histomics(tmp_path / "b", areas).read_text())
    assert written["attributes"] == {"pixelcam": areas.about}
