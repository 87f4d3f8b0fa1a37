"""The manifest: valid, importable, quick, and what it contributes works."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from npe2 import PluginManifest

import napari_pixelcam
from napari_pixelcam.background import Immediate
from napari_pixelcam.controllers.session import Session
from napari_pixelcam.preferences import Preferences, load_preferences

MANIFEST = Path(napari_pixelcam.__file__).with_name("napari.yaml")


@pytest.fixture
def plugin(npe2pm):
    manifest = PluginManifest.from_file(MANIFEST)
    npe2pm.register(manifest)
    return manifest


@pytest.mark.parametrize("options", [[], ["--imports"]], ids=["schema", "imports"])
def test_npe2_finds_the_manifest_valid(options):
    done = subprocess.run(
        [sys.executable, "-m", "npe2", "validate", *options, str(MANIFEST)],
        capture_output=True,
        text=True,
        check=False,
        cwd=MANIFEST.parent.parent,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "valid" in done.stdout


def test_the_top_level_manifest_is_the_packages_own():
    top = MANIFEST.parent.parent / "napari.yaml"
    assert not top.exists() or top.read_text() == MANIFEST.read_text()


def test_every_command_can_be_imported():
    from importlib import import_module

    for command in PluginManifest.from_file(MANIFEST).contributions.commands:
        module, _, name = command.python_name.partition(":")
        assert callable(getattr(import_module(module), name))


def test_importing_the_package_and_its_small_parts_loads_no_torch():
    code = (
        "import sys; from napari_pixelcam import reader, samples, writer;"
        "assert 'torch' not in sys.modules; assert 'qtpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=MANIFEST.parent.parent)


def test_building_the_dock_loads_no_torch():
    code = "import sys, napari_pixelcam.widgets.dock; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=MANIFEST.parent.parent)


def test_the_sample_opens_as_a_colour_image(plugin, npe2pm):
    from napari.components import ViewerModel

    viewer = ViewerModel()
    viewer.open_sample("napari-pixelcam", "immunohistochemistry")
    assert viewer.layers[0].data.shape == (512, 512, 3)
    assert viewer.layers[0].rgb


def test_preferences_have_the_manifests_defaults_and_are_read_back(plugin, plugin_settings):
    from napari.components import ViewerModel
    from napari.settings import get_plugin_settings

    assert load_preferences() == Preferences()
    settings = get_plugin_settings("napari-pixelcam")
    settings.seeds.brush_size = 21
    settings.localize.device = "cpu"
    settings.localize.four_views = True
    settings.seeds.folder = "~/seeds"
    read = load_preferences()
    assert (read.brush_size, read.device, read.seeds_folder) == (21, "cpu", Path("~/seeds").expanduser())
    assert Session(ViewerModel(), Immediate(), Preferences()).views == 1
    assert Session(ViewerModel(), Immediate(), read).views == 4


def test_without_the_manifest_the_defaults_hold(npe2pm, plugin_settings):
    assert load_preferences() == Preferences()


def test_the_writer_saves_seeds_and_refuses_other_labels(plugin, tmp_path):
    from napari.components import ViewerModel
    from PIL import Image

    from pixelcam.errors import OutputError, SeedsError

    labels = np.zeros((20, 30), np.uint8)
    labels[3:6, 4:9] = 2
    viewer = ViewerModel()
    layer = viewer.add_labels(labels, name="seeds")
    path = tmp_path / "mine.png"
    assert layer.save(str(path), plugin="napari-pixelcam") == [str(path)]
    np.testing.assert_array_equal(np.array(Image.open(path)), labels)
    layer.save(str(tmp_path / "mine.npz"), plugin="napari-pixelcam")
    np.testing.assert_array_equal(np.load(tmp_path / "mine.npz")["labels"], labels)
    layer.save(str(path), plugin="napari-pixelcam")  # over its own
    (tmp_path / "drawn.png").write_bytes(b"a picture of mine")
    for taken in (tmp_path / "drawn.png", path):
        layer.name = "other seeds"
        with pytest.raises(OutputError, match="move it away"):
            layer.save(str(taken), plugin="napari-pixelcam")
    assert (tmp_path / "drawn.png").read_bytes() == b"a picture of mine"
    layer.data = labels * 4
    with pytest.raises(SeedsError, match="holds other labels"):
        layer.save(str(tmp_path / "other.png"), plugin="napari-pixelcam")
    assert not (tmp_path / "other.png").exists()


@pytest.fixture
def napari_and_us(npe2pm, plugin, plugin_settings, monkeypatch):
    """Return napari's settings of plugins, with its own readers beside ours, not called on yet."""
    import napari_builtins
    from napari.settings import get_settings

    npe2pm.register(PluginManifest.from_file(Path(napari_builtins.__file__).with_name("builtins.yaml")))
    settings = get_settings().plugins
    monkeypatch.setattr(settings, "extension2reader", {})
    return settings


def readers(path):
    """Return which readers napari would have to choose from, and which one it prefers."""
    from napari.plugins import _npe2
    from napari.plugins.utils import get_preferred_reader

    return set(_npe2.get_readers(str(path))), get_preferred_reader(str(path))


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "A.JPG", "a.jpeg", "a.bmp", "a.webp"])
def test_what_napari_reads_as_well_is_left_to_it(napari_and_us, tmp_path, name):
    assert readers(tmp_path / name) == ({"napari"}, None)


@pytest.mark.parametrize("name", ["a.svs", "A.SVS", "a.tif", "a.ome.tif", "B.TIFF", "project", "folder"])
def test_where_napari_would_ask_ours_is_preferred_once_the_plugin_was_called_on(
    napari_and_us, npe2pm, tmp_path, name
):
    path = tmp_path / name
    if "." not in name:
        path.mkdir()
    assert readers(path) == ({"napari", "napari-pixelcam"}, None)
    npe2pm.activate("napari-pixelcam")
    assert readers(path)[1] == "napari-pixelcam"


def test_what_the_user_has_chosen_stays(napari_and_us, npe2pm, tmp_path):
    napari_and_us.extension2reader = {"*.tif": "napari", "*.csv": "other"}
    npe2pm.activate("napari-pixelcam")
    assert readers(tmp_path / "a.tif")[1] == "napari"
    assert readers(tmp_path / "a.svs")[1] == "napari-pixelcam"
    assert napari_and_us.extension2reader["*.csv"] == "other"


def test_folders_are_not_claimed_where_a_third_plugin_reads_them(napari_and_us, npe2pm, tmp_path):
    with npe2pm.tmp_plugin(name="zarr-reader") as other:

        @other.contribute.reader(filename_patterns=["*.zarr"], accepts_directories=True)
        def read(path):
            return None

        npe2pm.activate("napari-pixelcam")
        assert readers(tmp_path)[1] is None


def test_a_stack_or_a_measurement_opens_as_napari_opens_it(napari_and_us, npe2pm, tmp_path):
    """Preferred for TIFF files, the reader is not to be in the way of other work."""
    import tifffile
    from napari.components import ViewerModel

    stack = np.random.default_rng(0).integers(0, 255, (5, 20, 30), np.uint8)
    tifffile.imwrite(tmp_path / "stack.ome.tif", stack, metadata={"axes": "ZYX"})
    tifffile.imwrite(tmp_path / "measured.tif", stack[0] / np.float32(7))
    tifffile.imwrite(tmp_path / "picture.tif", stack[0])
    npe2pm.activate("napari-pixelcam")
    viewer = ViewerModel()
    for name in ("stack.ome.tif", "measured.tif", "picture.tif"):
        viewer.open(str(tmp_path / name), plugin=None)
    np.testing.assert_array_equal(viewer.layers[0].data, stack)
    np.testing.assert_array_equal(viewer.layers[1].data, stack[0] / np.float32(7))
    assert [layer.data.shape for layer in viewer.layers] == [(5, 20, 30), (20, 30), (20, 30, 3)]


def test_a_folder_that_is_no_project_opens_as_napari_opens_it(napari_and_us, npe2pm, tmp_path):
    from napari.components import ViewerModel
    from PIL import Image

    for number in range(3):
        Image.fromarray(np.full((20, 30), 9 * number, np.uint8)).save(tmp_path / f"{number}.png")
    npe2pm.activate("napari-pixelcam")
    viewer = ViewerModel()
    viewer.open(str(tmp_path), plugin=None)
    assert viewer.layers[0].data.shape == (3, 20, 30)
