"""The seam between the dock and the core."""

import shutil

from napari_pixelcam import backend
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
