"""Seeds on a project's other images count where they are asked to, read anew only where they must be."""

import numpy as np
import pytest
from PIL import Image

from napari_pixelcam import backend
from napari_pixelcam.controllers.refine import RefineController
from napari_pixelcam.controllers.shared import SharedSeedsController
from napari_pixelcam.seedgrid import BACKGROUND, FOREGROUND
from tests.napari_pixelcam.helpers import Work, tissue
from tests.napari_pixelcam.test_refine import FakeRefiner

OTHERS = ((2, FOREGROUND, 7), (3, FOREGROUND, 5), (4, BACKGROUND, 4))
"""Image, value and pixels of the seeds that the project has before the test."""


class Shared(Work):
    """A project of four images, three of which have seeds, with a map that follows them."""

    def __init__(self, monkeypatch):
        super().__init__()
        self.extracted, self.progress = [], []
        monkeypatch.setattr(backend.Localizers, "refiner", self.extract)
        self.refine = RefineController(self.session)
        self.shared = SharedSeedsController(self.session, self.refine, self.workbench)
        self.shared.progressed.connect(self.progress.append)

    def extract(self, slide, choice, *, should_stop):
        self.extracted.append(slide.name)
        return FakeRefiner(slide)

    def shown(self):
        return float(self.layer("foreground").data[0, 0])


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(1, 5):
        Image.fromarray(np.roll(tissue(), 9 * number, axis=1)).save(folder / f"image-{number}.png")
    return sorted(folder.iterdir())


@pytest.fixture
def work(fake, files, tmp_path, monkeypatch):
    made = Shared(monkeypatch)
    made.workbench.create(tmp_path / "project", "Ann")
    made.workbench.add_images(files)
    for id, value, count in OTHERS:
        made.project.write_seeds(id, (50, 0, 51, count), np.full((1, count), value, np.uint8))
    made.refine.set_live(True)
    paint(made, BACKGROUND)
    made.extracted.clear()
    yield made
    made.close()


def paint(work, label):
    """Paint one pixel on the image at hand, and let it be saved."""
    work.seeds.set_brush_size(1)
    work.seeds.take("foreground" if label == FOREGROUND else "background")
    work.layer("seeds").paint((10, 10), label)
    work.seeds.flush()


def test_all_images_of_the_project_count_though_only_one_is_open(work):
    assert work.shown() == pytest.approx(0.1)
    work.refine.set_everywhere(True)
    assert work.extracted == ["image-2", "image-3", "image-4"]
    assert work.shown() == pytest.approx(0.9)
    assert "your seeds and 16 labelled places on 3 other images" in work.refine.state.text
    steps = [(event.step, event.total) for event in work.progress if event is not None]
    assert steps == [(0, 3), (1, 3), (2, 3)]
    assert work.progress[-1] is None
    work.refine.set_everywhere(False)
    assert work.shown() == pytest.approx(0.1)
    assert "follows your seeds (" in work.refine.state.text


def test_on_another_image_the_first_one_counts_as_it_was_left_and_nothing_is_read_twice(work):
    work.refine.set_everywhere(True)
    work.extracted.clear()
    work.workbench.go(2)
    assert work.extracted == ["image-2"], "its own features, to be refitted"
    assert "your seeds and 10 labelled places on 3 other images" in work.refine.state.text
    work.workbench.go(1)
    assert work.extracted == ["image-2", "image-1"]
    assert "your seeds and 16 labelled places on 3 other images" in work.refine.state.text


def test_what_was_read_once_is_there_in_the_next_session(work, tmp_path):
    work.refine.set_everywhere(True)
    work.workbench.close()
    assert work.refine.everywhere
    work.extracted.clear()
    work.workbench.open(tmp_path / "project", "Ann")
    work.workbench.go(4)
    assert work.extracted == ["image-4"], "its own features; image-1 was kept as it was left"
    assert "your seeds and 13 labelled places on 3 other images" in work.refine.state.text


def test_seeds_that_have_changed_elsewhere_are_read_anew(work):
    work.refine.set_everywhere(True)
    work.project.write_seeds(3, (60, 0, 61, 9), np.full((1, 9), FOREGROUND, np.uint8))
    work.extracted.clear()
    work.workbench.go(4)
    assert "image-3" in work.extracted
    assert "image-2" not in work.extracted
    assert "your seeds and 22 labelled places on 3 other images" in work.refine.state.text


def test_a_missing_image_is_left_out_and_told_once(work, files):
    files[2].unlink()
    work.refine.set_everywhere(True)
    assert "your seeds and 11 labelled places on 2 other images" in work.refine.state.text
    told = [text for level, text in work.said if level == "warning"]
    assert len(told) == 1
    assert "1 image does not count" in told[0]
    assert "image-3.png" in told[0]
    work.refine.set_everywhere(False)
    work.refine.set_everywhere(True)
    assert [text for level, text in work.said if level == "warning"] == told


def test_another_model_of_the_same_name_is_not_taken_for_it(work, monkeypatch):
    monkeypatch.setattr(backend, "digest", lambda model: "1" * 64)
    work.refine.set_everywhere(True)
    assert work.extracted == []
    assert "another model" in work.said[-1][1]
    assert work.shown() == pytest.approx(0.1)
    assert "your seeds alone" in work.refine.state.text


def test_reading_stops_when_asked_and_goes_on_from_there(work):
    def extract(slide, choice, *, should_stop):
        if slide.name == "image-3":
            work.shared.stop()
        work.extracted.append(slide.name)
        return FakeRefiner(slide)

    usual, work.session.localizers.refiner = work.session.localizers.refiner, extract
    work.refine.set_everywhere(True)
    assert not work.refine.everywhere
    assert work.extracted == ["image-2", "image-3"]
    assert work.shown() == pytest.approx(0.1)
    work.extracted.clear()
    work.session.localizers.refiner = usual
    work.refine.set_everywhere(True)
    assert work.extracted == ["image-4"]
    assert work.shown() == pytest.approx(0.9)


def test_without_a_project_the_images_in_the_viewer_count_as_ever(work):
    work.workbench.close()
    for name, width in (("one", 50), ("two", 51)):
        work.session.choose_image(work.viewer.add_image(tissue(40, width), name=name, rgb=True))
        work.localize.run()
        paint(work, FOREGROUND)
    work.refine.set_everywhere(True)
    assert "your seeds and 1 labelled place on 1 other image (" in work.refine.state.text
    work.viewer.layers.remove(work.viewer.layers["one"])
    work.refine.renew()
    assert "your seeds alone" in work.refine.state.text


def test_an_image_left_without_seeds_leaves_nothing_behind(work, tmp_path):
    work.tools.clear()
    work.refine.set_everywhere(True)
    work.refine.set_everywhere(False)
    work.workbench.go(2)
    kept = sorted(path.parent.name for path in (tmp_path / "project").rglob("samples-*"))
    assert kept == ["2", "3", "4"]
