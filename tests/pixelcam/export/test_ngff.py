"""OME-Zarr is what its specification says, lies where the image does, and holds every value."""

from __future__ import annotations

import numpy as np
import pytest
import yaozarrs

from pixelcam.errors import OutputError, SeedsError
from pixelcam.export import atomic
from pixelcam.export.ngff import read_label_zarr, write_map_zarr, write_seeds_zarr
from pixelcam.export.sidecar import SeedImage, SeedSidecar


def opened(path):
    """Return the metadata and the arrays as a reader of its own sees them, having validated the store."""
    group = yaozarrs.validate_zarr_store(path)
    assert group.ome_version() == "0.4"
    (scales,) = group.ome_metadata().multiscales
    return scales, [np.asarray(group[dataset.path].to_zarr_python()) for dataset in scales.datasets]


def places(scales):
    return [
        (one.coordinateTransformations[0].scale, one.coordinateTransformations[1].translation)
        for one in scales.datasets
    ]


def sidecar(height, width, **changes):
    image = SeedImage("field", "field.png", "", "ab", width, height, 0.5)
    return SeedSidecar(image, **changes)


def test_a_map_is_kept_exactly_and_in_micrometres(tmp_path, localize):
    foreground = np.random.default_rng(0).random((40, 60), dtype=np.float32)
    result = localize(foreground, mpp=0.25, width=240, height=80, scale=(2.0, 4.0), translate=(0.5, 1.5))
    scales, (values,) = opened(write_map_zarr(tmp_path / "a.ome.zarr", result))
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, foreground)
    assert [(axis.name, axis.type, axis.unit) for axis in scales.axes] == [
        ("y", "space", "micrometer"),
        ("x", "space", "micrometer"),
    ]
    assert places(scales) == [([0.5, 1.0], [0.125, 0.375])]


def test_without_a_pixel_size_no_unit_is_made_up(tmp_path, localize):
    scales, _ = opened(write_map_zarr(tmp_path / "a.ome.zarr", localize(np.zeros((4, 5)))))
    assert [axis.unit for axis in scales.axes] == [None, None]
    assert places(scales) == [([1, 1], [0, 0])]


def test_a_large_map_carries_coarser_levels_that_cover_the_same_place(tmp_path, localize):
    foreground = np.random.default_rng(0).random((300, 5000), dtype=np.float32)
    scales, levels = opened(write_map_zarr(tmp_path / "a.ome.zarr", localize(foreground, mpp=1.0)))
    assert [level.shape for level in levels] == [(300, 5000), (150, 2500), (75, 1250)]
    np.testing.assert_allclose(levels[2], foreground.reshape(75, 4, 1250, 4).mean((1, 3)), atol=1e-6)
    for (scale, translate), level in zip(places(scales), levels, strict=True):
        edges = [
            (t - s / 2, t + s * (n - 0.5)) for s, t, n in zip(scale, translate, level.shape, strict=True)
        ]
        assert edges == [(-0.5, 299.5), (-0.5, 4999.5)]


def test_seeds_are_a_label_image_with_names_and_the_whole_sidecar(tmp_path):
    labels = np.random.default_rng(0).integers(0, 3, (7, 9), dtype=np.uint8)
    described = sidecar(7, 9, reviewer="me", threshold=0.4, corrected_label="normal")
    path = write_seeds_zarr(tmp_path / "a.ome.zarr", labels, described)
    _, (values,) = opened(path)
    assert values.dtype == np.uint8
    np.testing.assert_array_equal(values, labels)
    group = yaozarrs.open_group(path)
    assert [one.label_value for one in group.ome_metadata().image_label.colors] == [1, 2]
    assert group.attrs["image-label"]["properties"] == [
        {"label-value": 1, "name": "background"},
        {"label-value": 2, "name": "foreground"},
    ]
    about = group.attrs["pixelcam"]
    assert (about["reviewer"], about["threshold"], about["corrected_label"]) == ("me", 0.4, "normal")
    back, fingerprint = read_label_zarr(path)
    np.testing.assert_array_equal(back, labels)
    assert fingerprint == "ab"


def test_a_single_stroke_pixel_is_seen_on_every_level_of_the_seeds(tmp_path):
    labels = np.zeros((3, 4099), np.uint8)
    labels[1, 4098] = labels[0, 7] = 2
    labels[2, 100] = 1
    _, levels = opened(write_seeds_zarr(tmp_path / "a.ome.zarr", labels, sidecar(3, 4099)))
    assert [level.shape for level in levels] == [(3, 4099), (2, 2050), (1, 1025)]
    assert [(np.count_nonzero(level == 1), np.count_nonzero(level == 2)) for level in levels] == [(1, 2)] * 3


def test_a_second_export_replaces_the_first_and_leaves_nothing_else(tmp_path, localize):
    path = tmp_path / "a.ome.zarr"
    write_map_zarr(path, localize(np.zeros((4, 3000)), fingerprint="ab" * 32))
    write_map_zarr(path, localize(np.ones((4, 5)), fingerprint="ab" * 32))
    _, (values,) = opened(path)
    assert (values == 1).all()
    assert [one.name for one in tmp_path.iterdir()] == ["a.ome.zarr"]


def test_a_folder_that_is_no_zarr_store_is_not_replaced(tmp_path, localize):
    (tmp_path / "a.ome.zarr").mkdir()
    (tmp_path / "a.ome.zarr" / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="in the way"):
        write_map_zarr(tmp_path / "a.ome.zarr", localize(np.ones((4, 5))))
    assert (tmp_path / "a.ome.zarr" / "thesis.txt").read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("moment", ["writing", "flushing"])
def test_a_full_disk_leaves_the_old_store(tmp_path, localize, monkeypatch, moment):
    path = write_map_zarr(tmp_path / "a.ome.zarr", localize(np.ones((4, 5))))

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    if moment == "writing":
        monkeypatch.setattr("zarr.Group.create_array", full)
    else:
        monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(OutputError, match="the disk is full"):
        write_map_zarr(path, localize(np.zeros((4, 5))))
    monkeypatch.undo()
    _, (values,) = opened(path)
    assert (values == 1).all()
    assert len(list(tmp_path.iterdir())) == 1


def test_what_is_no_label_image_is_refused(tmp_path):
    with pytest.raises(SeedsError, match="no OME-Zarr label image"):
        read_label_zarr(tmp_path / "none")
    (tmp_path / "a.zarr").mkdir()
    with pytest.raises(SeedsError, match="no OME-Zarr label image"):
        read_label_zarr(tmp_path / "a.zarr")
