"""The command line as a whole: how fast it starts, how it ends, what it says where."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import pixelcam
from pixelcam.cli import main
from pixelcam.errors import CancelledError, ImageError

ROOT = Path(__file__).parents[3]


def test_the_version_is_printed(command):
    ending = command("--version")
    assert ending.code == 0
    assert ending.out.strip() == f"pixelcam {pixelcam.__version__}"


@pytest.mark.parametrize(
    "name", ["localize", "train", "evaluate", "finetune", "export", "models", "doctor", "demo"]
)
def test_every_command_explains_itself(command, name):
    ending = command(name, "--help")
    assert ending.code == 0
    assert "Usage" in ending.out


def test_help_does_not_import_what_takes_long():
    code = (
        "import sys; from pixelcam.cli import main; main(['--help']);"
        "heavy = {'torch', 'timm', 'numpy', 'skimage', 'tifffile', 'napari'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("localise",),
        ("localize", "--out", "somewhere"),
        ("localize", "image.png"),
        ("localize", "image.png", "--out", "somewhere", "--threshold", "1.01"),
        ("localize", "image.png", "--out", "somewhere", "--threshold", "-0.1"),
        ("localize", "image.png", "--out", "somewhere", "--threshold", "nan"),
        ("localize", "image.png", "--out", "somewhere", "--threshold", "half"),
        ("localize", "image.png", "--out", "somewhere", "--device", "gpu"),
        ("localize", "image.png", "--out", "somewhere", "--mpp", "0"),
        ("evaluate", "--dataset", "imagenet", "--root", ".", "--split", "test"),
        ("evaluate", "--dataset", "glas", "--root", ".", "--split", "all"),
    ],
)
def test_wrong_usage_ends_with_two_and_touches_nothing(command, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ending = command(*arguments)
    assert ending.code == 2
    assert ending.err
    assert ending.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def failing(monkeypatch):
    """Let ``pixelcam doctor`` end with a given error."""

    def fail_with(error):
        def check():
            raise error

        monkeypatch.setattr("pixelcam.doctor.check", check)

    return fail_with


def test_an_expected_failure_is_one_sentence(command, failing):
    failing(ImageError("slide.svs is truncated:\n tile 311 ends past the end of the file."))
    ending = command("doctor")
    assert ending.failed_with()
    assert ending.err == "slide.svs is truncated: tile 311 ends past the end of the file.\n"


def test_an_unexpected_failure_is_one_sentence_too(command, failing):
    failing(TypeError("unsupported\noperand"))
    assert command("doctor").failed_with("TypeError", "PIXELCAM_DEBUG=1")


def test_an_unexpected_failure_shows_its_traceback_on_request(failing, monkeypatch):
    monkeypatch.setenv("PIXELCAM_DEBUG", "1")
    failing(TypeError("unsupported operand"))
    with pytest.raises(TypeError):
        main(["doctor"])


def test_the_systems_own_errors_name_the_file(command, failing):
    failing(PermissionError(13, "Permission denied", "/data/slide.svs"))
    assert command("doctor").failed_with("/data/slide.svs", "permission denied")


@pytest.mark.parametrize("error", [CancelledError(), KeyboardInterrupt()])
def test_being_cancelled_ends_with_130(command, failing, error):
    failing(error)
    ending = command("doctor")
    assert ending.code == 130
    assert ending.err == "Cancelled.\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_even_where_a_library_wraps_it(command, monkeypatch, number):
    def check():
        try:
            os.kill(os.getpid(), number)
            time.sleep(5)
        except KeyboardInterrupt as interrupt:
            raise RuntimeError("a library's own words") from interrupt

    monkeypatch.setattr("pixelcam.doctor.check", check)
    before = signal.getsignal(number)
    assert command("doctor").code == 130
    assert signal.getsignal(number) is before


def test_a_command_started_as_a_module_ends_with_its_code():
    done = subprocess.run(
        [sys.executable, "-m", "pixelcam", "nonsense"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "nonsense" in done.stderr


def test_the_demo_says_what_to_install_where_there_is_no_window(command, monkeypatch):
    import importlib.util

    real = importlib.util.find_spec
    for missing in (("napari",), ("PyQt6", "PySide6")):
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name, gone=missing: None if name in gone else real(name)
        )
        assert command("demo").failed_with(missing[0], "pip install")


def test_the_demo_passes_on_how_it_went(command, monkeypatch, tmp_path):
    import importlib
    import types

    asked = []

    def play(out, interactive):
        asked.append((out, interactive))
        return 1

    monkeypatch.setattr(importlib, "import_module", lambda name: types.SimpleNamespace(main=play))
    assert command("demo", "--out", tmp_path).code == 1
    assert command("demo", "--out", tmp_path, "--no-window").code == 1
    assert asked == [(tmp_path, None), (tmp_path, False)]
