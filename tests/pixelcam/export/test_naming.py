"""Names of files made from names of people, classes and images: no two alike, on any system."""

from __future__ import annotations

import itertools
import random
import unicodedata

import pytest

from pixelcam.export.naming import file_name, file_names, fold, safe_stem

NAMES = [
    *("Ann", "Lab/Ann", "Lab_Ann", "Lab\\Ann", "Lab%2FAnn", "Lab%252FAnn", "Lab:Ann", "Lab Ann"),
    *("", " ", ".", "..", "...", "a.", "a ", " a", "a", ".a", "~", "%", "%~", "a/", "/a", "//"),
    *(
        "con",
        "con.txt",
        "NUL",
        "com1",
        "lpt9.seeds",
        "CONS",
        "-rf",
        "*",
        "?",
        '"',
        "<>|",
        "a\nb",
        "a\tb",
        "a\0b",
    ),
    *(
        "Müller",
        unicodedata.normalize("NFD", "Müller"),
        "Weiß",
        "Weiss",
        "李雷",
        "Ａnn",
        "a" * 300,
        "a" * 301,
    ),
    *("ä" * 200, "ä" * 201, "Ann\udcff", "Ann\udcfe", "🧪", "ﬁsh", "fish"),
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_any_text_is_one_that_every_system_can_have(name, tmp_path):
    found = file_name(name)
    assert found
    assert len(found.encode()) <= 200
    assert not set(found) & set('<>:"/\\|?*')
    assert found.isprintable()
    assert found[-1] not in ". "
    assert found[0] not in ". "
    assert found.split(".")[0].casefold() not in ("con", "nul", "com1", "lpt9")
    (tmp_path / found).mkdir()


def test_no_two_names_have_one_file_name():
    assert len({file_name(name) for name in NAMES}) == len(NAMES)
    letters = random.Random(0)
    drawn = {"".join(letters.choices("aA/_%2F.~ é\\", k=letters.randint(0, 7))) for _ in range(20_000)}
    assert len({file_name(name) for name in drawn}) == len(drawn)


def test_names_that_differ_by_capitals_alone_are_kept_apart_where_they_meet():
    names = ["Ann", "ann", "ANN", "Bob", "%41nn", "Weiß", "WEISS", "weiss", "Lab/Ann", "lab/ann"]
    found = file_names(names)
    assert len({fold(name) for name in found.values()}) == len(names)
    assert found["Bob"] == "Bob"
    for pair in itertools.combinations(NAMES, 2):
        one, other = file_names(pair).values()
        assert fold(one) != fold(other)


def test_plain_names_stay_as_they_are():
    for name in ("Ann", "Bob Smith", "Müller", "o'neill@lab", "reviewer-2", "李雷"):
        assert file_name(name) == name
        assert file_names([name, "someone else"])[name] == name


def test_the_stem_of_a_long_name_leaves_room_for_every_ending():
    assert len(safe_stem("x" * 400).encode()) <= 200
    assert safe_stem("x" * 400 + "a") != safe_stem("x" * 400 + "b")
