"""DICOM segmentations are read back by highdicom with their values, names and places."""

from __future__ import annotations

import builtins
from dataclasses import replace

import numpy as np
import pytest

from pixelcam.errors import ConfigError, OutputError
from pixelcam.export.areas import Area, ImageAreas, areas_of_map
from pixelcam.export.dicom import write_dicom_areas, write_dicom_map

highdicom = pytest.importorskip("highdicom")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.dcm"


def matrix(segmentation):
    """Return the whole matrix (h, w, segments)."""
    return segmentation.get_total_pixel_matrix()


def test_a_map_is_fractional_in_steps_of_one_255th(path, localize):
    foreground = np.random.default_rng(0).random((700, 530), dtype=np.float32)
    seg = highdicom.seg.segread(write_dicom_map(path, localize(foreground, mpp=0.25)))
    assert seg.SegmentationType == "FRACTIONAL"
    assert seg.SegmentationFractionalType == "PROBABILITY"
    assert (seg.Rows, seg.Columns, seg.NumberOfFrames) == (512, 512, 4)
    assert matrix(seg).shape == (700, 530, 1)
    np.testing.assert_allclose(matrix(seg)[..., 0], np.rint(foreground * 255) / 255, atol=1e-6)
    description = seg.get_segment_description(1)
    assert description.segment_label == "adenocarcinoma"
    assert description.algorithm_type.value == "AUTOMATIC"
    assert description.SegmentationAlgorithmIdentificationSequence[0].AlgorithmName == "PixelCAM starter"


def test_areas_are_binary_one_segment_each(path, areas):
    seg = highdicom.seg.segread(write_dicom_areas(path, replace(areas, reviewer="A. Reviewer")))
    assert seg.SegmentationType == "BINARY"
    assert str(seg.ContentCreatorName) == "A. Reviewer^"
    back = matrix(seg)
    for number, area in enumerate(areas.areas):
        np.testing.assert_array_equal(back[..., number], area.mask)
        description = seg.get_segment_description(number + 1)
        assert description.segment_label == area.name
        assert description.algorithm_type.value == "MANUAL"


def test_pixel_size_and_place_are_those_of_the_map(path, localize):
    result = localize(
        np.zeros((10, 20)), mpp=0.5, width=80, height=20, scale=(2.0, 4.0), translate=(0.5, 1.5)
    )
    seg = highdicom.seg.segread(write_dicom_map(path, result))
    measures = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert list(measures.PixelSpacing) == [0.001, 0.002]
    origin = seg.TotalPixelMatrixOriginSequence[0]
    assert origin.XOffsetInSlideCoordinateSystem == -0.00025
    assert origin.YOffsetInSlideCoordinateSystem == -0.00075
    assert list(seg.ImageOrientationSlide) == [0, -1, 0, -1, 0, 0]


def test_segmentations_of_one_image_share_study_and_frame_of_reference(tmp_path, localize):
    one, other = localize(np.eye(4), mpp=0.5), localize(np.eye(4), mpp=0.5, image_name="other")
    files = [
        highdicom.seg.segread(path)
        for path in (
            write_dicom_map(tmp_path / "a.dcm", one),
            write_dicom_areas(tmp_path / "b.dcm", areas_of_map(one)),
            write_dicom_map(tmp_path / "c.dcm", other),
        )
    ]
    for name in ("StudyInstanceUID", "FrameOfReferenceUID"):
        first, second, third = (getattr(file, name) for file in files)
        assert first == second != third
    assert len({file.SOPInstanceUID for file in files}) == 3


def test_names_that_dicom_cannot_hold_are_fitted(path):
    area = Area("Krebs\\Stroma\n" + "ä" * 90, np.eye(3, dtype=bool), (230, 159, 0))
    image = ImageAreas("Präparat " * 20, 3, 3, 0.5, (area,), model="m" * 90)
    seg = highdicom.seg.segread(write_dicom_areas(path, image))
    assert seg.get_segment_description(1).segment_label == "Krebs/Stroma" + "ä" * 52


def test_without_a_pixel_size_it_says_what_to_do(path, localize):
    with pytest.raises(ConfigError, match="pixel size of field, which is unknown; localize it again with"):
        write_dicom_map(path, localize(np.zeros((4, 4))))
    assert not path.exists()


def test_without_highdicom_it_says_what_to_install(path, localize, monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name == "highdicom":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ConfigError, match=r"pip install 'napari-pixelcam\[dicom\]'"):
        write_dicom_map(path, localize(np.zeros((4, 4)), mpp=0.5))


def test_a_file_that_cannot_be_written_is_told(tmp_path, localize):
    (tmp_path / "file").write_text("old")
    with pytest.raises(OutputError, match="cannot be written"):
        write_dicom_map(tmp_path / "file" / "a.dcm", localize(np.zeros((4, 4)), mpp=0.5))
