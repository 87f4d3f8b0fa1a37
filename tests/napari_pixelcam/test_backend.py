"""The seam between the dock and the core."""

import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
from napari.components import ViewerModel

import pixelcam
from napari_pixelcam import backend
from pixelcam.events import ignore_events, never_stop
from pixelcam.slides import Slide
from pixelcam.slides.slide import hash_file
from tests.napari_pixelcam.helpers import Bench, Threads, tissue


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


def test_the_names_of_models_need_no_torch(user_folder):
    (user_folder / "models").mkdir()
    (user_folder / "models" / "mine.safetensors").write_bytes(b"not looked at")
    code = (
        "import sys; from napari_pixelcam import backend; print(backend.read_models());"
        "assert not {'torch', 'timm', 'torchvision'} & set(sys.modules)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=root, timeout=170
    )
    assert done.returncode == 0, done.stderr
    assert "'starter'" in done.stdout
    assert "'mine'" in done.stdout


def test_models_can_be_chosen_and_run_before_the_devices_are_known(fake, monkeypatch):
    known = threading.Event()

    def read_devices():
        assert known.wait(120)
        return ("auto", "cpu", "cuda")

    monkeypatch.setattr(backend, "read_devices", read_devices)
    viewer, threads = ViewerModel(), Threads()
    viewer.add_image(tissue(), name="tissue", rgb=True)
    bench = Bench(viewer, threads)
    try:
        threads.pump(lambda: bench.session.catalogue is not None)
        assert bench.session.model == "tiny"
        assert bench.session.catalogue.devices == ("auto",)
        assert bench.localize.obstacle == ""
        bench.localize.run()
        threads.pump(lambda: not bench.localize.running)
        assert "tissue · foreground" in viewer.layers
        known.set()
        threads.settle()
        assert bench.session.catalogue.devices == ("auto", "cpu", "cuda")
    finally:
        known.set()
        bench.close()
