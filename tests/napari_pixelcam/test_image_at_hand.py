"""One image at hand, in the dock and in napari's list of layers, whatever happens to the layers."""

from dataclasses import replace

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers._layer_actions import _duplicate_layer

from napari_pixelcam.controllers.opening import map_result
from napari_pixelcam.controllers.uncertain import UncertainController
from tests.napari_pixelcam.helpers import Bench, Threads, drag, tissue


class Two(Bench):
    """A bench on images A and B, whose work runs in threads; B was opened last."""

    def __init__(self):
        viewer = ViewerModel()
        viewer.add_image(tissue(), name="A", rgb=True)
        viewer.add_image(tissue()[:, ::-1].copy(), name="B", rgb=True)
        self.threads = Threads()
        super().__init__(viewer, self.threads)
        self.settle()

    def settle(self):
        self.threads.settle()
        self.session.tick()
        self.threads.settle()

    def select(self, *names):
        """Click layers in napari's list."""
        self.viewer.layers.selection.clear()
        self.viewer.layers.selection.update(self.viewer.layers[name] for name in names)

    def delete(self, *names):
        """Select layers and press Delete in napari's list."""
        self.select(*names)
        self.viewer.layers.remove_selected()
        self.settle()

    def choose(self, name):
        """Choose an image in the dock's list."""
        self.session.choose_image(self.viewer.layers[name])

    def map(self, name):
        self.choose(name)
        self.localize.run()
        self.settle()

    def paint(self, brush="foreground"):
        self.seeds.take(brush)
        drag(self.viewer.layers.selection.active, [(10, 10), (12, 20)])
        self.settle()

    def painted(self):
        """Return how many pixels are painted on which image's seed layer."""
        return {
            layer.name: int((np.asarray(layer.data) > 0).sum())
            for layer in self.viewer.layers
            if layer.name.endswith("seeds")
        }

    @property
    def at_hand(self):
        """The name of the image at hand, which the dock and napari's list agree on."""
        record, active = self.session.record, self.viewer.layers.selection.active
        if active is not None:
            assert self.session.record_of(active) is record
        return None if record is None else record.name

    @property
    def names(self):
        return [layer.name for layer in self.viewer.layers]


@pytest.fixture
def two(fake):
    made = Two()
    yield made
    made.close()


def test_choosing_in_either_list_chooses_in_the_other(two):
    assert two.at_hand == "B"
    two.choose("A")
    assert two.viewer.layers.selection.active.name == "A"
    two.select("B")
    assert two.at_hand == "B"
    two.choose("B")
    assert two.viewer.layers.selection.active.name == "B"


def test_the_map_and_the_stroke_are_of_the_image_that_was_chosen(two):
    two.select("B")
    two.map("A")
    assert two.at_hand == "A"
    assert two.names == ["A", "A · background", "A · foreground", "B"]
    two.paint()
    assert two.at_hand == "A"
    assert list(two.painted()) == ["A · seeds"]
    assert two.painted()["A · seeds"] > 0


def test_turning_to_another_image_while_one_is_localized_stays_so(two, fake):
    two.choose("A")
    two.localize.run()
    two.select("B")
    two.settle()
    assert two.at_hand == "B"
    assert "A · foreground" in two.names
    two.paint()
    assert list(two.painted()) == ["B · seeds"]


@pytest.mark.parametrize("chosen", [["B"], ["A", "B"], ["points"], []])
def test_what_the_plugin_adds_leaves_the_selection_as_it_is(two, chosen):
    two.viewer.add_points([[3, 3]], name="points")
    two.choose("A")
    two.localize.run()
    two.select(*chosen)
    before = set(two.viewer.layers.selection), two.viewer.layers.selection.active, two.session.record
    two.settle()
    assert "A · foreground" in two.names
    assert (
        set(two.viewer.layers.selection),
        two.viewer.layers.selection.active,
        two.session.record,
    ) == before


def test_seeds_that_come_back_from_disk_turn_the_dock_to_nothing(two):
    two.choose("A")
    two.paint()
    two.seeds.flush()
    pixels = two.viewer.layers["A"].data
    two.delete("A")
    two.select("B")
    two.viewer.add_image(pixels, name="A again", rgb=True)
    two.select("B")
    two.settle()
    assert two.at_hand == "B"
    assert two.painted()["A again · seeds"] > 0


@pytest.mark.parametrize("role", ["foreground", "background", "seeds"])
def test_selecting_a_layer_that_lies_on_an_image_chooses_that_image(two, role):
    two.map("A")
    two.paint()
    two.choose("B")
    two.select(f"A · {role}")
    assert two.at_hand == "A"
    assert two.viewer.layers.selection.active.name == f"A · {role}", "and stays selected"


def test_a_layer_that_lies_on_no_image_changes_nothing(two):
    two.choose("A")
    two.viewer.add_shapes(name="shapes")
    assert two.session.record.name == "A"
    two.choose("A")
    assert two.viewer.layers.selection.active.name == "A"


def test_deleting_the_image_at_hand_takes_its_layers_away_and_turns_to_another(two):
    two.map("A")
    two.paint()
    two.delete("A")
    assert two.names == ["B"]
    assert two.at_hand == "B"
    assert two.viewer.layers.selection.active is two.viewer.layers["B"]
    two.delete("B")
    assert two.names == []
    assert two.at_hand is None


def test_deleting_an_image_together_with_some_of_its_layers(two):
    two.map("A")
    two.paint()
    two.delete("A", "A · foreground", "B")
    assert two.names == []
    assert two.at_hand is None


def test_clearing_the_list_at_once(two):
    two.map("A")
    two.paint()
    two.map("B")
    two.viewer.layers.clear()
    two.settle()
    assert two.names == []
    assert two.at_hand is None


def test_deleting_an_image_while_it_is_localized_leaves_no_map_on_another(two):
    two.map("A")
    two.localize.run()
    two.delete("A")
    assert two.names == ["B"]
    assert not two.localize.running


def test_seeds_of_a_deleted_image_stay_in_sight_until_they_are_kept(two, monkeypatch):
    from napari_pixelcam import seedfiles

    def full(*args):
        raise OSError("no space left")

    two.choose("A")
    save = seedfiles.save
    monkeypatch.setattr(seedfiles, "save", full)
    two.paint()
    two.delete("A")
    assert two.names == ["B", "A · seeds"]
    assert not two.viewer.layers["A · seeds"].editable
    monkeypatch.setattr(seedfiles, "save", save)
    two.seeds.flush()
    two.settle()
    assert two.names == ["B"]


def test_reordering_and_hiding_change_nothing_but_the_brush_shows_what_it_paints_on(two):
    two.map("A")
    two.viewer.layers.move(two.viewer.layers.index("B"), 0)
    assert two.at_hand == "A"
    assert [layer.name for layer in two.session.images()] == ["A", "B"]
    two.viewer.layers["A"].visible = False
    assert two.at_hand == "A"
    two.paint()
    assert two.viewer.layers["A"].visible
    assert list(two.painted()) == ["A · seeds"]


def test_two_images_of_one_name_are_told_apart(two):
    two.viewer.add_image(tissue()[::-1].copy(), name="A", rgb=True)
    assert two.names == ["A", "B", "A [1]"]
    two.map("A [1]")
    assert two.names == ["A", "B", "A [1]", "A [1] · background", "A [1] · foreground"]
    two.viewer.layers["A [1]"].name = "A"
    two.paint()
    assert two.session.record.layer is two.viewer.layers[2]
    assert list(two.painted()) == ["A [1] · seeds"]


def test_an_image_added_while_another_is_localized_is_at_hand_and_gets_no_map_of_it(two):
    two.choose("A")
    two.localize.run()
    two.viewer.add_image(tissue()[::-1].copy(), name="C", rgb=True)
    two.settle()
    assert two.at_hand == "C"
    assert two.names == ["A", "A · background", "A · foreground", "B", "C"]
    two.paint()
    assert list(two.painted()) == ["C · seeds"]


def test_of_two_localizations_the_last_asked_for_comes_first_and_both_come(two, fake):
    order = []
    two.localize.finished.connect(lambda record: order.append(record.name))
    fake.steps = 40
    two.choose("A")
    two.localize.run()
    two.choose("B")
    assert two.localize.running
    assert not two.localize.running_here
    two.localize.run()
    two.settle()
    assert sorted(order) == ["A", "B"]
    assert two.at_hand == "B"


def test_cancelling_ends_the_localization_of_the_image_at_hand_and_leaves_the_other(two, fake):
    ended = []
    two.localize.ended.connect(lambda level, text: ended.append(text))
    two.choose("A")
    two.localize.run()
    two.choose("B")
    two.localize.run()
    two.localize.cancel()
    assert ended == ["Cancelled; 'B' is as it was."]
    two.settle()
    assert "A · foreground" in two.names
    assert "B · foreground" not in two.names


def duplicate(two, name):
    two.select(name)
    _duplicate_layer(two.viewer.layers)
    two.settle()
    return two.viewer.layers[f"{name} copy"]


def test_a_duplicated_image_gets_no_second_seed_layer(two):
    two.choose("A")
    two.paint()
    duplicate(two, "A")
    two.choose("A copy")
    two.seeds.take("background")
    assert list(two.painted()) == ["A · seeds"]
    assert two.said[-1][1].startswith("'A copy' is the same image as 'A', which has seeds already")


def test_a_duplicated_image_that_was_changed_is_an_image_of_its_own(two):
    two.choose("A")
    two.paint()
    copy = duplicate(two, "A")
    copy.data = copy.data[::-1]
    two.choose("A copy")
    two.paint()
    assert sorted(two.painted()) == ["A copy · seeds", "A · seeds"]


def test_a_duplicated_map_is_no_image_and_outlives_the_dock(two):
    two.map("A")
    copy = duplicate(two, "A · foreground")
    assert [layer.name for layer in two.session.images()] == ["B", "A"]
    two.session.leave(two.session.record)
    assert copy.metadata["pixelcam"] == {"role": "foreground", "of": "A"}


def test_painting_on_a_duplicated_seed_layer_is_warned_of(two):
    two.choose("A")
    two.paint()
    duplicate(two, "A · seeds")
    assert two.said[-1][0] == "warning"
    assert "neither kept nor learned from. Paint on 'A · seeds'" in two.said[-1][1]


def test_unsure_areas_are_those_of_the_map_that_is_shown(two, fake):
    uncertain, went = UncertainController(two.session), []
    uncertain.went.connect(lambda at, of: went.append(of))
    two.map("A")
    record, first = two.session.record, two.session.record.result
    uncertain.next()
    scores = np.zeros_like(first.localization.foreground)
    scores[20:30, 20:30] = 0.4
    two.localize.show(record, map_result(replace(first.localization, foreground=scores), "tiny"))
    two.settle()
    assert went == [1]
    uncertain.next()
    two.select("B")
    two.settle()
    assert went == [1, 1], "known already, and shown at once"
    two.map("B")
    uncertain.next()
    two.choose("A")
    two.settle()
    assert went == [1, 1], "what was found on another image moves nothing"
