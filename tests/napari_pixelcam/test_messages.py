"""A message goes when what it speaks of goes: image, model, what was asked for, or the failure itself."""

from pathlib import Path

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_pixelcam.controllers.finetune import TuneSettings
from napari_pixelcam.widgets.message import Message
from pixelcam.errors import SeedsError
from tests.napari_pixelcam.helpers import tissue
from tests.napari_pixelcam.test_dock import click, localize, stroke

IMAGE = (tissue(), {"name": "tissue", "rgb": True})
OTHER = (tissue()[::-1].copy(), {"name": "other", "rgb": True})


@pytest.fixture
def message(qtbot):
    made = Message()
    qtbot.addWidget(made)
    return made


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a", "b"),
        (1, 2),
        (None, "a"),
        (Path("a"), Path("b")),
        ((1, "a"), (1, "b")),
        ((1,), (1, 2)),
        (np.zeros(3), np.zeros(3)),  # another thing, though it looks the same
    ],
)
def test_it_stays_while_its_subject_is_the_same_and_goes_when_it_is_another(message, before, after):
    subject, gone = [before], []
    message.outlived.connect(gone.append)
    message.say("It broke.", "error", about=lambda: subject[0])
    message.look()
    assert message.text == "⚠ It broke."
    assert gone == []
    subject[0] = after
    message.look()
    assert message.text == ""
    assert gone == ["It broke."]


def test_equal_values_are_the_same_subject_and_without_one_it_stays(message):
    subject = [("folder", Path("a"), 0.5, frozenset({1}))]
    message.say("It broke.", "error", about=lambda: subject[0])
    subject[0] = ("folder", Path("a"), 0.5, frozenset({1}))
    message.look()
    assert message.text
    message.say("It broke otherwise.", "error")
    subject[0] = "another"
    message.look()
    assert message.text == "⚠ It broke otherwise."


def test_it_can_be_told_that_its_very_text_is_out_of_date(message):
    message.say("It broke.", "error")
    message.forget("Something else.")
    message.forget("")
    assert message.text
    message.forget("It broke.")
    assert message.text == ""


def test_in_the_dock_every_red_line_goes_with_its_subject(open_dock, fake, qtbot, failing, tmp_path):
    viewer, dock = open_dock(IMAGE, OTHER)
    red = dock.message

    def choose(name):
        viewer.layers.selection.active = viewer.layers[name]

    # Localize: another image, or another model.
    fake.error = failing
    localize(qtbot, dock)
    assert "scanner" in dock.localize.status.text
    assert "scanner" in red.text
    choose("tissue")
    assert (dock.localize.status.text, red.text) == ("", "")
    localize(qtbot, dock)
    assert "scanner" in red.text
    dock.session.add_model("better")
    assert (dock.localize.status.text, red.text) == ("", "")
    fake.error = None

    # What wanted a map goes with the map; what wanted seeds with the first stroke.
    dock.seeds_controller.propose()
    assert "Localize the image first" in red.text
    dock.finetune_controller.start(TuneSettings("new"))
    qtbot.waitUntil(lambda: "Paint or propose" in dock.finetune.status.text, timeout=10_000)
    assert "Paint or propose" in red.text
    viewer.layers["other"].visible = False  # painting under it would be warned of
    click(qtbot, dock.seeds.brushes["foreground"])
    stroke(dock.session.record.seeds, [(20, 20), (20, 40)])
    qtbot.waitUntil(lambda: (dock.finetune.status.text, red.text) == ("", ""), timeout=5000)
    dock.uncertain_controller.next()
    assert "Localize the image first" in red.text
    localize(qtbot, dock)
    assert red.text == ""

    # Export: the folder is corrected.
    (tmp_path / "file").write_text("")
    dock.export.folder.value = tmp_path / "file"
    click(qtbot, dock.export.run_button)
    qtbot.waitUntil(lambda: dock.export.status.level == "error", timeout=30_000)
    assert red.text == dock.export.status.text
    dock.export.folder.value = tmp_path / "folder"
    qtbot.waitUntil(lambda: (dock.export.status.text, red.text) == ("", ""), timeout=5000)

    # The image itself is removed.
    dock.session.report(failing)
    viewer.layers.remove("tissue")
    assert red.text == ""


def test_seeds_that_are_not_saved_are_told_until_they_are_whatever_image_is_at_hand(
    open_dock, fake, qtbot, monkeypatch
):
    viewer, dock = open_dock(IMAGE, OTHER)
    localize(qtbot, dock)
    saved = dock.seeds.saved
    broken = [True]
    real = type(dock.seeds_controller.keeper).saving

    def saving(keeper, *arguments):
        save = real(keeper, *arguments)

        def write():
            if broken[0]:
                raise SeedsError("The disk is full.")
            return save()

        return write

    monkeypatch.setattr(type(dock.seeds_controller.keeper), "saving", saving)
    monkeypatch.setattr("napari_pixelcam.controllers.autosave.RETRY", 0.2)
    click(qtbot, dock.seeds.brushes["foreground"])
    stroke(dock.session.record.seeds, [(20, 20), (20, 40)])
    qtbot.waitUntil(lambda: saved.text.startswith("⚠ NOT SAVED. The disk is full."), timeout=10_000)
    viewer.layers.selection.active = viewer.layers["tissue"]
    qtbot.wait(400)
    assert saved.text.startswith("⚠ NOT SAVED. Seeds of 'other': The disk is full.")
    broken[0] = False
    qtbot.waitUntil(lambda: saved.text == "", timeout=10_000)
    viewer.layers.selection.active = viewer.layers["other"]
    assert saved.text.startswith("✓ saved")


def test_a_name_that_was_typed_stays_when_the_list_of_models_is_read_anew(open_dock, fake, qtbot):
    _, dock = open_dock(IMAGE)
    section, session = dock.finetune, dock.session
    suggested = section.name.value
    session.catalogue_changed.emit(session.catalogue)
    assert section.name.value == suggested
    section.name.native.clear()
    qtbot.keyClicks(section.name.native, "mine")
    session.catalogue_changed.emit(session.catalogue)
    assert section.name.value == "mine"


def test_the_name_of_the_new_model_is_checked_as_it_is_typed(open_dock, fake, qtbot):
    _, dock = open_dock(IMAGE)
    section = dock.finetune
    field = section.name.native
    assert section.run_button.isEnabled()
    for name in ("x" * 120, "with space", "../up", "tiny"):
        field.clear()
        qtbot.keyClicks(field, name)
        qtbot.waitUntil(lambda: not section.run_button.isEnabled(), timeout=10_000)
        assert section.obstacle.level == "error"
        assert section.obstacle.text
        field.clear()
        qtbot.keyClicks(field, "good-name")
        qtbot.waitUntil(section.run_button.isEnabled, timeout=10_000)
        assert section.obstacle.text == ""
    qtbot.keyClick(field, Qt.Key.Key_A)
    assert section.name.value == "good-namea"
