"""Which fold is meant where the command line does not say."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pixelcam.cli.divisions import caution_of, choose_division


def card(**training):
    return SimpleNamespace(name="colon", training=training)


OWN = card(dataset="glas", fold=3, scheme="patient")


@pytest.mark.parametrize(
    ("fold", "scheme", "meant"),
    [
        (None, None, (3, "patient")),
        (1, None, (1, "patient")),
        (None, "patient", (3, "patient")),
        (None, "official", (0, "official")),
        (2, "official", (2, "official")),
    ],
)
def test_a_models_own_division_is_the_default_as_far_as_nothing_else_is_named(fold, scheme, meant):
    division = choose_division(OWN, "glas", fold, scheme)
    assert division == meant
    assert bool(caution_of(OWN, "glas", division)) == (meant != (3, "patient"))


@pytest.mark.parametrize(
    "other", [card(), card(dataset="ebhi", fold=3), card(dataset=None, scheme="patient")]
)
def test_of_a_data_set_that_a_model_was_not_trained_on_the_first_official_fold_is_meant(other):
    assert choose_division(other, "glas", None, None) == (0, "official")
    assert caution_of(other, "glas", choose_division(other, "glas", 4, None)) == ""


def test_a_card_of_old_that_names_its_data_set_alone_means_the_first_official_fold():
    assert choose_division(card(dataset="glas"), "glas", None, None) == (0, "official")
