"""`pixelcam simulate clicks`: its curve, on made pictures."""

import json

import pytest

from tests.synthetic import write_glas_like


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_glas_like(tmp_path_factory.mktemp("glas"), train=4, valcl=2, with_test=False, size=64)


@pytest.fixture
def simulate(command, tiny_model, root):
    def run(*more, root=root):
        options = ("--model", tiny_model, "--dataset", "glas", "--root", root, "--split", "valcl")
        return command("simulate", "clicks", *options, "--device", "cpu", *more)

    return run


def test_the_curves_go_to_a_file(simulate, tmp_path):
    file = tmp_path / "new" / "clicks.json"
    ending = simulate("--clicks", 4, "--json", file)
    assert (ending.code, ending.err) == (0, "")
    report = json.loads(file.read_text())
    assert report["clicks"] == 4
    assert (report["split"], report["fold"], report["scheme"]) == ("valcl", 0, "official")
    assert len(report["mean_dice"]) == 5
    assert len(report["per_image"]) == report["images"] > 0
    assert len(ending.out.splitlines()) == 5, "after 0 to 4 clicks, odd ones too"


def test_strokes_of_one_kind_are_drawn_as_wide_as_asked_for(simulate):
    found = json.loads(
        simulate("--clicks", 3, "--order", "background", "--strokes", "--brush", 5, "--json", "-").out
    )
    assert (found["order"], found["brush"], len(found["mean_dice"])) == ("background", 5, 4)
    assert len(found["worse_elsewhere"]) == 4
    again = simulate("--clicks", 1, "--order", "random", "--json", "-")
    assert json.loads(again.out)["radius"] == 3
    assert simulate("--clicks", 1, "--order", "sideways").code == 2


def test_a_dash_prints_the_document(simulate):
    assert json.loads(simulate("--clicks", 1, "--json", "-").out)["clicks"] == 1


def test_what_is_missing_or_senseless_is_one_sentence(simulate, tmp_path):
    assert simulate(root=tmp_path / "gone").failed_with("gone")
    assert simulate("--clicks", 0).code == 2
