"""The seam between the dock and the core."""

import shutil

import numpy as np

import pixelcam
from napari_pixelcam import backend
from pixelcam.events import ignore_events, never_stop
from pixelcam.slides import Slide
from pixelcam.slides.slide import hash_file


def test_a_model_is_known_by_its_bytes_whatever_it_is_called(tiny_checkpoint, user_folder):
    models = user_folder / "models"
    models.mkdir()
    shutil.copy(tiny_checkpoint, models / "renamed.safetensors")
    sha256 = hash_file(tiny_checkpoint)
    assert backend.name_of(sha256, "tiny") == "renamed"
    assert backend.digest("renamed") == sha256
    assert backend.name_of("0" * 64, "tiny") == "tiny"
    (models / "renamed.safetensors").write_bytes(b"another model")
    assert backend.name_of(sha256, "tiny") == "tiny"


def test_a_loaded_model_looks_from_more_views_without_being_loaded_again(tiny_checkpoint, monkeypatch):
    loads = []

    def load(model, device, *, views):
        loads.append((model, device, views))
        return read(model, device, views=views)

    read = pixelcam.load
    monkeypatch.setattr(pixelcam, "load", load)
    localizers, image = backend.Localizers(), np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)

    def seen(device, views):
        choice = backend.Choice(str(tiny_checkpoint), device, views)
        return localizers.localize(
            Slide.from_array(image), choice, on_event=ignore_events, should_stop=never_stop
        )

    results = [seen("cpu", views) for views in (1, 4, 4, 1)]
    assert [result.model.views for result in results] == [1, 4, 4, 1]
    assert loads == [(str(tiny_checkpoint), "cpu", 1)]
    np.testing.assert_array_equal(results[0].foreground, results[3].foreground)
    assert np.abs(results[0].foreground - results[1].foreground).max() > 0
    seen("auto", 1)
    assert loads[1:] == [(str(tiny_checkpoint), "auto", 1)]
