"""What every test runs under: one Qt binding, a user folder of its own, no network, and made data sets.

Data sets of `tests/synthetic.py`, made once a session and never to be written to:

- ``glas_root``, ``ebhi_root``, ``folder_root``: folders for `open_dataset`, of 96 x 96 px pictures in two
  classes (round and crowded glands) with masks.
- ``trained_run``, ``trained_model``: the run folder and best checkpoint of a tiny model that was really
  trained by image labels on such pictures, for about ten seconds; it finds glands far above chance.
- ``tissue_image``: one picture (192, 192, 3) uint8 of crowded glands and its mask (192, 192) bool.
- ``real_glas``, ``real_ebhi``: the real data sets, where the environment names their folders.
"""

from __future__ import annotations

import importlib.util
import os
import signal
from pathlib import Path

import pytest

# qtpy and pytest-qt prefer different bindings where both are installed; one process must hold only one.
if "QT_API" not in os.environ:
    found = (name for name in ("PyQt6", "PySide6") if importlib.util.find_spec(name))
    os.environ["QT_API"] = next(found, "PyQt6").lower()
os.environ["PYTEST_QT_API"] = os.environ["QT_API"]
os.environ["HF_HUB_OFFLINE"] = "1"

# A shell starts background jobs with Ctrl-C ignored, and so would be every process that a test interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def user_folder(tmp_path_factory, monkeypatch):
    """Keep the models and settings of whoever runs the tests out of them."""
    folder = tmp_path_factory.mktemp("pixelcam-home")
    monkeypatch.setenv("PIXELCAM_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def glas_root(tmp_path_factory) -> Path:
    """A made data set in the layout of GlaS: 20 training, 8 validation and 8 test pictures."""
    from tests.synthetic import write_glas_like

    return write_glas_like(tmp_path_factory.mktemp("glas"))


@pytest.fixture(scope="session")
def ebhi_root(tmp_path_factory) -> Path:
    """A made data set in the layout of EBHI-SEG: 34 pictures of 16 cases."""
    from tests.synthetic import write_ebhi_like

    return write_ebhi_like(tmp_path_factory.mktemp("ebhi"))


@pytest.fixture(scope="session")
def folder_root(tmp_path_factory) -> Path:
    """A made folder of two class folders of 16 pictures each, with masks."""
    from tests.synthetic import write_folder

    return write_folder(tmp_path_factory.mktemp("folder"))


@pytest.fixture(scope="session")
def tissue_image():
    """A picture of crowded glands and where they are."""
    from tests.synthetic import tissue

    return tissue("crowded", 7, 192)


@pytest.fixture(scope="session")
def learning_root(tmp_path_factory) -> Path:
    """A made folder of two class folders of 40 pictures each, with masks: enough to learn from."""
    from tests.synthetic import write_folder

    return write_folder(tmp_path_factory.mktemp("learning"), per_class=40)


@pytest.fixture(scope="session")
def trained_run(learning_root, tmp_path_factory) -> Path:
    """The folder of a whole training run."""
    import torch

    from pixelcam.training import TrainSettings, train

    settings = TrainSettings(
        dataset="folder",
        root=learning_root,
        encoder="test_efficientnet",
        input_size=96,
        view_size=96,
        augment="paper",
        augment_classifier="paper",
        glass=0.0,
        teacher="layercam-abs",
        pixel_loss="partial",
        sampler="extremes",
        pixel_weight_decay=0.1,
        seeds=20,
        epochs_classifier=50,  # so long and slow, what it learns depends little on how a processor rounds
        epochs_joint=8,
        batch=8,
        rate_classifier=0.01,
        rate_joint=0.01,
        head_factor=1.0,
        pixel_factor=10.0,
        dropout=0.0,
        device="cpu",
        name="tissue",
    )
    run = tmp_path_factory.mktemp("trained") / "run"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # quicker for a tiny network, and the same sums on every machine
    try:
        train(settings, run)
    finally:
        torch.set_num_threads(threads)
    return run


@pytest.fixture(scope="session")
def trained_model(trained_run) -> Path:
    """The checkpoint of a model that knows crowded glands from round ones, and where they are."""
    return trained_run / "checkpoints" / "best-loc.safetensors"


def _named_folder(variable: str, what: str) -> Path:
    if not os.environ.get(variable):
        pytest.skip(f"{variable} is not set to the folder of {what}, which is not part of this project")
    return Path(os.environ[variable])


@pytest.fixture(scope="session")
def real_glas() -> Path:
    """The folder of the real GlaS data set."""
    return _named_folder("PIXELCAM_GLAS", "GlaS")


@pytest.fixture(scope="session")
def real_ebhi() -> Path:
    """The folder of the real EBHI-SEG data set."""
    return _named_folder("PIXELCAM_EBHI", "EBHI-SEG")
