"""Labelled cells that a project keeps: used while they are of these seeds and this model, else remade."""

import numpy as np
import pytest
import torch
from PIL import Image

from pixelcam.errors import CancelledError, ImageError
from pixelcam.events import Stop
from pixelcam.refine import Refiner, SeedSamples, extract_features
from pixelcam.review import Project
from pixelcam.review.samples import gather_samples, keep_samples, read_samples
from tests.pixelcam.networks import louder, made_localizer
from tests.synthetic import tissue

MODEL, OTHER = "ab" * 32, "cd" * 32


class Maker:
    """Makes one cell a seed pixel, and remembers of which images."""

    def __init__(self):
        self.made = []

    def __call__(self, slide, labels):
        self.made.append(slide.name)
        values = torch.from_numpy(labels[labels != 0].astype(np.float32) - 1)
        return SeedSamples(torch.full((len(values), 3), 0.1), values * 2, values, values + 0.5)


@pytest.fixture
def make():
    return Maker()


@pytest.fixture
def painted(project):
    """Both images have seeds."""
    for entry in project.images():
        project.write_seeds(entry.id, (3, 4, 6, 9), np.full((3, 5), 2, np.uint8))
    return project


def gather(project, make, model=MODEL, **options):
    make.made.clear()
    return gather_samples(project, model, make, **options)


def test_all_images_with_seeds_count_and_are_read_from_the_folder_the_next_time(painted, folder, make):
    found = gather(painted, make)
    assert make.made == ["a", "b"]
    painted.close()
    with Project.open(folder, reviewer="Ann") as again:
        kept = gather(again, make)
    assert make.made == []
    assert kept.images.keys() == found.images.keys() == {1, 2}
    for name in ("features", "prior", "labels", "weights"):
        there, here = (getattr(one.images[2].samples, name) for one in (found, kept))
        torch.testing.assert_close(there, here, atol=1e-3, rtol=0)
        assert here.dtype == torch.float32


def test_an_image_without_seeds_of_this_reviewer_does_not_count(painted, folder, make):
    painted.write_seeds(1, (0, 0, 60, 80), np.zeros((60, 80), np.uint8), "clear")
    assert gather(painted, make).images.keys() == {2}
    with Project.open(folder, reviewer="Bob") as other:
        assert gather(other, make).images == {}


def test_the_image_at_hand_is_left_out(painted, make):
    assert gather(painted, make, without=2).images.keys() == {1}


def test_after_another_stroke_the_samples_are_made_anew(painted, make):
    known = gather(painted, make)
    painted.write_seeds(1, (20, 20, 21, 21), np.full((1, 1), 1, np.uint8))
    found = gather(painted, make, known=known)
    assert make.made == ["a"]
    assert len(found.images[1].samples) == 16
    assert found.images[2] is known.images[2]


def test_samples_of_another_model_are_made_anew(painted, make):
    gather(painted, make)
    gather(painted, make, model=OTHER)
    assert make.made == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "value"), [("pixelcam.review.samples.__version__", "99"), ("pixelcam.refine.refiner.ALIKE", 7.0)]
)
def test_samples_that_were_computed_otherwise_are_made_anew(painted, make, monkeypatch, name, value):
    gather(painted, make)
    monkeypatch.setattr(name, value)
    gather(painted, make)
    assert make.made == ["a", "b"]


def test_damaged_samples_are_made_anew(painted, folder, make):
    gather(painted, make)
    (path,) = (folder / "images" / "1").glob("samples-*")
    path.write_bytes(path.read_bytes()[:-20])
    gather(painted, make)
    assert make.made == ["a"]


def test_a_missing_image_counts_as_long_as_its_samples_are_kept(painted, pictures, make):
    gather(painted, make)
    pictures[0].unlink()
    assert gather(painted, make).images.keys() == {1, 2}
    found = gather(painted, make, model=OTHER)
    assert found.images.keys() == {2}
    assert len(found.left_out) == 1
    assert "a.png" in found.left_out[0]


def test_an_image_that_has_no_features_is_left_out_with_its_reason(painted, make):
    def refuse(slide, labels):
        if slide.name == "a":
            raise ImageError("a is too small.")
        return make(slide, labels)

    found = gather_samples(painted, MODEL, refuse)
    assert (found.images.keys(), found.left_out) == ({2}, ["a is too small."])


def test_gathering_tells_how_far_it_is_and_stops_when_asked(painted, make):
    events = []
    with pytest.raises(CancelledError):
        gather(
            painted,
            make,
            on_event=events.append,
            should_stop=lambda: Stop.DISCARD if len(events) == 2 else Stop.NO,
        )
    assert [(event.step, event.total) for event in events] == [(0, 2), (1, 2)]
    events.clear()
    gather(painted, make, on_event=events.append)
    assert make.made == ["b"], "what was made is kept"
    assert [(event.step, event.total) for event in events] == [(0, 1)]


def test_nothing_is_written_into_a_project_that_is_only_looked_at(painted, folder, make):
    with Project.open(folder, reviewer="Ann", read_only=True) as looking:
        found = gather(looking, make)
        assert found.images.keys() == {1, 2}
        keep_samples(looking, 1, MODEL, found.images[1])
    assert not list(folder.rglob("samples-*"))


def test_the_state_of_seeds_is_another_after_each_edit_and_survives(painted, folder):
    before = painted.seed_state(1)
    painted.write_seeds(1, (0, 0, 1, 1), np.ones((1, 1), np.uint8))
    after = painted.seed_state(1)
    assert before not in ("", after)
    painted.restore(1, painted.history(1)[0].seq)
    assert painted.seed_state(1) not in (before, after)
    state = painted.seed_state(1)
    painted.close()
    with Project.open(folder, reviewer="Ann") as again:
        assert again.seed_state(1) == state
    with Project.open(folder, reviewer="Bob") as other:
        assert other.seed_state(1) == ""


def test_samples_are_of_real_features_to_half_precision(tmp_path):
    shallow = made_localizer("test_resnet", louder, levels=(1, 2), mpp=0.5)
    Image.fromarray(tissue("crowded", 1, 96)[0]).save(tmp_path / "tissue.png")

    def make(slide, labels):
        return Refiner(extract_features(shallow, slide)).samples(labels)

    with Project.create(tmp_path / "project", reviewer="Ann") as project:
        project.add_images([tmp_path / "tissue.png"])
        project.write_seeds(1, (30, 30, 34, 40), np.full((4, 10), 2, np.uint8))
        made = gather_samples(project, MODEL, make).images[1].samples
        kept = read_samples(project, 1, MODEL, project.seed_state(1)).samples
    torch.testing.assert_close(kept.features, made.features, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(kept.weights, made.weights)
