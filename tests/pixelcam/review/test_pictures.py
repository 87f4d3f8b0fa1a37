"""A project keeps the pictures of one file apart, and opens each again as the one that was added."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import skimage.data
import tifffile

from pixelcam.export.seeds import read_seed_record
from pixelcam.review import Project

TISSUE = skimage.data.immunohistochemistry()


@pytest.fixture
def scenes(tmp_path):
    path = tmp_path / "two.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as writer:
        for pixels in (TISSUE[:100, :120], TISSUE[200:280, 100:160]):
            writer.write(pixels, photometric="rgb", metadata={"axes": "YXS"})
    return path


@pytest.fixture
def project(tmp_path):
    with Project.create(tmp_path / "project", reviewer="Ann") as made:
        yield made


def test_two_pictures_of_one_file_are_two_images(project, scenes):
    (first,) = project.add_images([scenes])
    (second,) = project.add_images([scenes], series=2)
    assert [(entry.id, entry.name) for entry in project.images()] == [(1, "two.ome"), (2, "two.ome.series2")]
    assert project.add_images([scenes], series=1)[0].id == first.id
    np.testing.assert_array_equal(project.slide(first.id).read(), TISSUE[:100, :120])
    np.testing.assert_array_equal(project.slide(second.id).read(), TISSUE[200:280, 100:160])
    assert project.slide(second.id).fingerprint == second.fingerprint
    assert project.thumbnail(second.id).shape == (80, 60, 3)


def test_a_picture_is_found_again_where_its_file_went(project, scenes, tmp_path):
    (second,) = project.add_images([scenes], series=2)
    (tmp_path / "other").mkdir()
    shutil.move(scenes, tmp_path / "other" / "moved.ome.tif")
    project.relink(second.id, tmp_path / "other")
    assert project.image(second.id).name == "moved.ome.series2"
    np.testing.assert_array_equal(project.slide(second.id).read(), TISSUE[200:280, 100:160])


def test_seeds_of_a_picture_stay_with_it(project, scenes, tmp_path):
    from pixelcam.review.exporting import export_project

    entries = [project.add_images([scenes], series=number)[0] for number in (1, 2)]
    for entry, value in zip(entries, (1, 2), strict=True):
        shape = project.seed_grid(entry.id).shape
        project.write_seeds(entry.id, (0, 0, *shape), np.full(shape, value, np.uint8))
    export_project(project, tmp_path / "out")
    shapes = {}
    for sidecar in (tmp_path / "out").rglob("*.seeds.json"):
        record = read_seed_record(sidecar)
        shapes[record.labels.shape] = int(record.labels.max())
        assert record.image_path.samefile(scenes)
    assert shapes == {(100, 120): 1, (80, 60): 2}
