"""Agreement figures, against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import cohen_kappa_score

from pixelcam.errors import OutputError
from pixelcam.review import Project, agreements
from pixelcam.review.agreement import (
    cohens_kappa,
    disagreement_map,
    kappa_of_counts,
    seed_counts,
    write_disagreement,
)


def noisy(rng, shape, wrong: float):
    """Two reviewers' seeds who often label the same pixels, and then mostly alike."""
    truth = rng.integers(1, 3, shape)
    views = []
    for _ in range(2):
        view = np.where(rng.random(shape) < wrong, 3 - truth, truth)
        views.append(np.where(rng.random(shape) < 0.5, view, 0).astype(np.uint8))
    return views


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("categories", [2, 4])
def test_kappa_of_labels_is_scikit_learns(seed, categories):
    rng = np.random.default_rng(seed)
    first = rng.integers(0, categories, 60)
    second = np.where(rng.random(60) < 0.6, first, rng.integers(0, categories, 60))
    names = ["benign", "malignant", "normal", "cannot tell"]
    found = cohens_kappa([names[k] for k in first], [names[k] for k in second])
    assert found == pytest.approx(cohen_kappa_score(first, second))


@pytest.mark.parametrize("wrong", [0.0, 0.1, 0.3, 0.5])
def test_kappa_of_seeds_is_scikit_learns_where_both_have_labelled(wrong):
    first, second = noisy(np.random.default_rng(3), (50, 70), wrong)
    both = (first > 0) & (second > 0)
    expected = cohen_kappa_score(first[both], second[both])
    assert kappa_of_counts(seed_counts(first, second)) == pytest.approx(expected)
    assert seed_counts(first, second).sum() == both.sum()


@pytest.mark.parametrize("pair", [([], []), (["a", "a"], ["a", "a"])])
def test_kappa_is_not_made_up_where_it_is_not_defined(pair):
    assert cohens_kappa(*pair) is None


def test_the_map_says_who_has_labelled_what():
    first = np.array([[0, 1, 2], [0, 1, 2], [0, 1, 2]], np.uint8)
    found = disagreement_map(first, first.T.copy())
    np.testing.assert_array_equal(found, [[0, 1, 1], [1, 2, 3], [1, 3, 2]])
    assert found.dtype == np.uint8


def test_the_written_map_holds_the_values_and_shows_colours(tmp_path):
    values = np.array([[0, 1], [2, 3]], np.uint8)
    with Image.open(write_disagreement(tmp_path / "new" / "map.png", values)) as image:
        np.testing.assert_array_equal(np.array(image), values)
        assert len(np.unique(np.array(image.convert("RGB")).reshape(-1, 3), axis=0)) == 4
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        write_disagreement(tmp_path / "file" / "map.png", values)


def test_the_agreement_of_a_project_is_that_of_all_its_images(folder):
    rng = np.random.default_rng(5)
    with Project.open(folder, reviewer="Ann") as ann, Project.open(folder, reviewer="Bob") as bob:
        views = []
        for entry in ann.images():
            pair = noisy(rng, ann.seed_grid(entry.id).shape, 0.2)
            for project, seeds in zip((ann, bob), pair, strict=True):
                project.write_changes(entry.id, seeds)
            views.append([seeds.ravel() for seeds in pair])
        small, large = (entry.id for entry in ann.images())
        for image, labels in ((small, ("benign", "benign")), (large, ("benign", "malignant"))):
            for project, label in zip((ann, bob), labels, strict=True):
                project.set_label(image, label)
        Project.open(folder, reviewer="Cem").close()
        (found,) = agreements(ann)
    first, second = (np.concatenate(each) for each in zip(*views, strict=True))
    both = (first > 0) & (second > 0)
    assert found.reviewers == ("Ann", "Bob")
    assert (found.images, found.same_label) == (2, 1)
    assert found.label_kappa == pytest.approx(
        cohen_kappa_score(["benign", "benign"], ["benign", "malignant"])
    )
    assert (found.pixels, found.same_pixels) == (both.sum(), (first == second)[both].sum())
    assert found.seed_kappa == pytest.approx(cohen_kappa_score(first[both], second[both]))
