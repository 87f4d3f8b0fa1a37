"""Every way in which napari lets seeds change is noticed, and costs no more than the change is large."""

import numpy as np
import pytest

from napari_pixelcam.filling import Area, write
from napari_pixelcam.seedwatch import SeedWatch
from pixelcam.seeds.seedmap import CHUNK, SeedMap
from tests.napari_pixelcam.helpers import drag

SHAPE = (2 * CHUNK, CHUNK + 100)


class Later:
    """Runs work when it is told to."""

    def __init__(self):
        self.waiting = []

    def submit(self, work, *, done, failed, progress=None):
        self.waiting.append((work, done))

    def run(self):
        waiting, self.waiting = self.waiting, []
        for work, done in waiting:
            done(work(None))


class Record:
    """What the watch knows of an image."""

    def __init__(self, layer):
        self.seeds = layer


class Watched:
    """A seed layer under watch, and what was said of it."""

    def __init__(self):
        from napari.components import ViewerModel

        self.viewer = ViewerModel()
        self.layer = self.viewer.add_labels(np.zeros(SHAPE, np.uint8), name="seeds")
        self.layer.mode, self.layer.selected_label, self.layer.brush_size = "paint", 2, 9
        self.record, self.background = Record(self.layer), Later()
        self.watch = SeedWatch(self.background)
        self.watch.follow(self.record)
        self.background.run()
        self.said = []
        self.watch.edited.connect(lambda record, ended: self.said.append(ended))

    @property
    def agrees(self):
        """Whether the watch knows what is painted, without looking at all of it."""
        return np.array_equal(self.watch.seeds(self.record).array(), self.layer.data)


@pytest.fixture
def watched():
    return Watched()


def test_each_dab_of_a_stroke_is_told_and_the_end_of_it_once(watched):
    drag(watched.layer, [(10, 10), (40, 40), (CHUNK, 30), (CHUNK + 20, CHUNK + 20)])
    assert watched.layer.data.any()
    assert watched.agrees
    assert watched.said[-1] is True
    assert watched.said.count(True) == 1
    assert watched.said.count(False) >= 3
    assert watched.background.waiting == [], "nothing else had to be compared"


@pytest.mark.parametrize(
    "edit",
    [
        lambda layer: layer.paint((30, 50), 2),
        lambda layer: layer.paint((30, 50), 2, refresh=False),
        lambda layer: layer.fill((30, 50), 1),
        lambda layer: layer.paint_polygon([(5, 5), (5, 600), (900, 60)], 1),
        lambda layer: layer.data_setitem((np.array([3, 700]), np.array([5, 560])), 2),
        lambda layer: layer.data_setitem((np.array([3, 700]), np.array([5, 560])), 2, refresh=False),
        lambda layer: write(layer, Area((500, 500), np.ones((60, 60), bool)), 2),
    ],
    ids=["paint", "quiet paint", "fill", "polygon", "pixels", "quiet pixels", "area"],
)
@pytest.mark.parametrize("visible", [True, False])
def test_every_tool_and_undo_and_redo_are_noticed_on_visible_and_hidden_layers(watched, edit, visible):
    watched.layer.visible = visible
    watched.background.run()
    for action in (edit, lambda layer: layer.undo(), lambda layer: layer.redo()):
        del watched.said[:]
        before = watched.layer.data.copy()
        action(watched.layer)
        watched.watch.look(watched.record)
        assert not np.array_equal(watched.layer.data, before)
        assert watched.agrees
        assert True in watched.said
        assert watched.background.waiting == []


def test_an_undo_that_a_stroke_follows_is_not_lost_on_a_hidden_layer(watched):
    watched.layer.paint((800, 500), 2)
    assert watched.agrees
    watched.layer.visible = False
    watched.layer.undo()
    watched.layer.paint((10, 10), 1)
    watched.watch.look(watched.record)
    assert not watched.layer.data[800, 500]
    assert watched.agrees


def test_more_steps_than_napari_keeps_are_all_noticed(watched):
    for step in range(130):
        watched.layer.paint((8 * step, 4 * step), 1 + step % 2)
    assert watched.agrees
    for _ in range(100):
        watched.layer.undo()
    assert watched.agrees


def test_a_stroke_that_is_broken_off_is_taken_back(watched):
    watched.layer._begin_stroke()
    watched.layer.paint((30, 50), 2)
    assert watched.agrees
    assert watched.said == [False]
    watched.layer._abort_stroke()
    watched.background.run()
    assert not watched.layer.data.any()
    assert watched.agrees


def test_what_a_script_writes_is_found_once_the_layer_is_drawn_anew(watched):
    watched.layer.data[700:710, 500:520] = 1
    watched.layer.refresh()
    assert not watched.agrees, "the whole layer is not compared on the interface's thread"
    watched.background.run()
    assert watched.agrees
    assert watched.said == [True]


def test_what_a_script_writes_while_the_layer_is_compared_is_found_as_well(watched):
    watched.layer.refresh()
    ((work, done),) = watched.background.waiting
    watched.background.waiting = []
    found = work(None)
    watched.layer.data[700:710, 500:520] = 1
    watched.layer.refresh()
    done(found)
    watched.background.run()
    assert watched.agrees


def test_a_stroke_during_the_comparison_is_kept(watched):
    watched.layer.data[700, 500] = 1
    watched.layer.refresh()
    watched.layer.paint((30, 50), 2)
    watched.background.run()
    assert watched.agrees


def test_other_data_in_the_layer_are_its_seeds_then(watched):
    for shape in (SHAPE, (300, 200)):
        labels = np.zeros(shape, np.uint8)
        labels[100:120, 30:50] = 2
        watched.layer.data = labels
        watched.background.run()
        assert watched.agrees
    assert watched.watch.seeds(watched.record).shape == (300, 200)


def test_what_nobody_told_of_is_found_before_the_window_closes(watched):
    watched.layer.data[700:710, 500:520] = 1
    watched.watch.look(watched.record, everywhere=True)
    assert watched.agrees
    assert watched.said == [True]


def test_a_redraw_that_changes_nothing_is_told_to_nobody(watched):
    watched.layer.paint((30, 50), 2)
    del watched.said[:]
    known = watched.watch.seeds(watched.record)
    watched.layer.refresh()
    watched.background.run()
    assert watched.said == []
    assert watched.watch.seeds(watched.record) is known


def test_a_stroke_is_read_from_its_own_chunks_only(watched, monkeypatch):
    read = []
    updated = SeedMap.updated
    monkeypatch.setattr(
        SeedMap, "updated", lambda self, labels, keys: updated(self, labels, read_of(keys, read))
    )
    drag(watched.layer, [(CHUNK + 30, 20), (CHUNK + 40, 60)])
    assert watched.agrees
    assert set(read) == {(1, 0)}


def read_of(keys, read):
    keys = list(keys)
    read += keys
    return keys


def test_a_layer_that_is_gone_is_not_heard_any_more(watched):
    watched.record.seeds = None
    watched.watch.follow(watched.record)
    watched.layer.paint((30, 50), 2)
    assert watched.watch.seeds(watched.record) is None
    assert watched.said == []
