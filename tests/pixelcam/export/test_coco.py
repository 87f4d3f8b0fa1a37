"""Runs are counted and compressed as COCO's own code does."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pycocotools import mask as reference

from pixelcam.export import SeedImage, SeedSidecar
from pixelcam.export.areas import areas_of_map, areas_of_seeds
from pixelcam.export.coco import compress, run_lengths, write_coco


@pytest.mark.parametrize("seed", range(20))
def test_compressed_counts_are_those_of_pycocotools(seed):
    rng = np.random.default_rng(seed)
    mask = rng.random(rng.integers(1, 200, 2)) < rng.random() ** 3
    edges = np.diff(np.concatenate([[0], mask.T.ravel().astype(np.int8), [0]]))
    counts = run_lengths(np.flatnonzero(edges).reshape(-1, 2), mask.size)
    assert sum(counts) == mask.size
    assert compress(counts) == reference.encode(np.asfortranarray(mask, np.uint8))["counts"].decode()


def test_counts_of_a_worked_example():
    """The example of the format page's paper: M = [0 0 1 1 1 0 1] has the counts [2 3 1 1]."""
    assert run_lengths(np.array([[2, 5], [6, 7]]), 7) == [2, 3, 1, 1]
    assert run_lengths(np.array([[0, 6]]), 7) == [0, 6, 1]


def test_each_region_is_an_object_of_the_predicted_class(tmp_path, localize):
    document = json.loads(write_coco(tmp_path / "a", areas_of_map(localize(np.eye(3)))).read_text())
    assert [one["bbox"] for one in document["annotations"]] == [[0, 0, 1, 1], [1, 1, 1, 1], [2, 2, 1, 1]]
    assert [one["id"] for one in document["annotations"]] == [1, 2, 3]
    assert document["categories"] == [{"id": 1, "name": "adenocarcinoma", "supercategory": ""}]


def test_plain_counts_are_numbers(tmp_path, localize):
    areas = areas_of_map(localize([[0, 0], [1, 1]]))
    document = json.loads(write_coco(tmp_path / "a", areas, compressed=False).read_text())
    assert document["annotations"][0]["segmentation"] == {"size": [2, 2], "counts": [1, 1, 1, 1]}


@pytest.mark.parametrize(
    "path, relative_path, name",
    [
        ("/slides/field.ndpi", "../field.ndpi", "field.ndpi"),
        ("C:\\slides\\field.ndpi", "", "field.ndpi"),
        ("", "field-1234.png", "field-1234.png"),
        ("", "", "field"),
    ],
)
def test_the_image_is_named_as_its_file_is(tmp_path, path, relative_path, name):
    sidecar = SeedSidecar(SeedImage("field", path, relative_path, "ab" * 32, 3, 3))
    document = json.loads(write_coco(tmp_path / "a", areas_of_seeds(np.eye(3), sidecar)).read_text())
    assert document["images"][0]["file_name"] == name
