"""Names of models: bundled, the user's, files, and hub ids."""

import shutil

import huggingface_hub
import pytest
import torch

from pixelcam.errors import CheckpointError, ConfigError, ModelNotFoundError, OutputError
from pixelcam.model import ModelCard, list_models, register_model, registry, resolve_model, save_checkpoint
from pixelcam.model.registry import check_new_name, refuse_other_model


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    torch.manual_seed(0)
    card = ModelCard(encoder="test_efficientnet", classes=("a", "b"), input_size=64)
    path = tmp_path_factory.mktemp("made") / "made.safetensors"
    save_checkpoint(path, card.build(), card)
    return path


@pytest.fixture(autouse=True)
def bundled(monkeypatch, tmp_path, made):
    """A folder of bundled models with one in it."""
    folder = tmp_path / "bundled"
    folder.mkdir()
    shutil.copy(made, folder / "starter.safetensors")
    monkeypatch.setattr(registry, "BUNDLED", folder)
    return folder


def test_names_are_bundled_ones_first_then_the_users(made, user_folder):
    register_model(made, "mine-1.2")
    register_model(made, "a_model")
    (user_folder / "models" / ".pixelcam-1234.safetensors").write_bytes(b"an unfinished write")
    assert [(entry.name, entry.source) for entry in list_models()] == [
        ("starter", "bundled"),
        ("a_model", "user"),
        ("mine-1.2", "user"),
    ]


def test_a_name_resolves_to_its_file(made, bundled, user_folder):
    entry = register_model(made, "mine")
    assert resolve_model("starter") == bundled / "starter.safetensors"
    assert resolve_model("mine") == entry.path == user_folder / "models" / "mine.safetensors"
    assert entry.path.read_bytes() == made.read_bytes()


def test_a_path_resolves_to_itself(made, monkeypatch):
    assert resolve_model(made) == resolve_model(str(made)) == made
    monkeypatch.setenv("HOME", str(made.parent))
    assert resolve_model(f"~/{made.name}") == made


def test_a_missing_name_says_what_is_at_hand():
    with pytest.raises(ModelNotFoundError, match=r"no model named 'stater'; at hand: starter\."):
        resolve_model("stater")


@pytest.mark.parametrize(
    "name", ["x" * 5000, "~nobody-of-that-name/m.safetensors", "a\0b", "no/such/" + "x" * 300]
)
def test_what_can_be_no_files_name_is_no_model(name):
    with pytest.raises(ModelNotFoundError):
        resolve_model(name)


def test_a_missing_file_is_named():
    with pytest.raises(ModelNotFoundError, match=r"no model file elsewhere/x\.safetensors"):
        resolve_model("elsewhere/x.safetensors")


@pytest.mark.parametrize("name", ["", "../up", "a b", ".hidden", "a/b", "starter", "a" * 101])
def test_a_model_cannot_have_such_a_name_or_a_taken_one(made, name, user_folder):
    with pytest.raises(ConfigError, match=r"cannot be a model's name|already; choose|at most 100 characters"):
        register_model(made, name)
    assert not list(user_folder.rglob("*.safetensors"))


def test_what_is_no_checkpoint_is_not_registered(tmp_path, user_folder):
    (tmp_path / "x.safetensors").write_bytes(b"x")
    with pytest.raises(CheckpointError):
        register_model(tmp_path / "x.safetensors", "mine")
    assert not (user_folder / "models").exists()


def test_a_hub_id_is_fetched(made, monkeypatch):
    asked = []
    monkeypatch.setattr(
        huggingface_hub, "hf_hub_download", lambda *request: asked.append(request) or str(made)
    )
    assert resolve_model("hf-hub:lab/glands") == made
    assert resolve_model("hf-hub:lab/glands/v2.safetensors") == made
    assert asked == [("lab/glands", "model.safetensors"), ("lab/glands", "v2.safetensors")]


@pytest.mark.parametrize("identifier", ["hf-hub:lab", "hf-hub:a/b/c/d"])
def test_what_is_no_hub_id_is_refused(identifier):
    with pytest.raises(ModelNotFoundError, match="not a hub id"):
        resolve_model(identifier)


@pytest.mark.parametrize(
    ("identifier", "name"),
    [("hf-hub:lab/glands", "glands"), ("hf-hub:lab/glands/v2.safetensors", "glands-v2")],
)
def test_without_a_network_the_message_says_which_file_to_put_where_and_then_that_works(
    made, monkeypatch, user_folder, identifier, name
):
    def offline(*request):
        raise OSError("no route to host")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    with pytest.raises(ModelNotFoundError) as caught:
        resolve_model(identifier)
    place = user_folder / "models" / f"{name}.safetensors"
    assert str(place) in str(caught.value)
    assert repr(name) in str(caught.value)
    place.parent.mkdir()
    shutil.copy(made, place)
    assert resolve_model(identifier) == resolve_model(name) == place


BAD_NAMES = [
    *("con", "NUL", "com1.v2", "ends.", "x.safetensors", "ann\n", "größe", "gro\u0308sse"),
    *("a\\b", "..", "x" * 101),
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_no_file_can_have_everywhere_is_refused(made, name, user_folder):
    with pytest.raises(ConfigError):
        check_new_name(name)
    with pytest.raises(ConfigError):
        register_model(made, name)


def test_a_name_that_differs_by_capitals_alone_is_taken(made, user_folder):
    register_model(made, "Glands")
    for name in ("glands", "GLANDS", "Starter"):
        with pytest.raises(ConfigError, match="already; choose another name"):
            register_model(made, name)


def test_what_is_in_the_way_of_a_model_is_not_replaced(made, user_folder):
    (user_folder / "models").mkdir()
    (user_folder / "models" / "mine.safetensors").mkdir()
    (user_folder / "models" / "link.safetensors").symlink_to(user_folder / "nowhere")
    for name in ("mine", "link"):
        with pytest.raises(ConfigError, match="already; choose another name"):
            register_model(made, name)
    assert [entry.name for entry in list_models() if entry.source == "user"] == []


def test_a_bad_name_that_is_on_the_disk_already_is_listed_and_harms_nothing(made, user_folder):
    (user_folder / "models").mkdir()
    for name in ("x" * 120, "a b", "größe"):
        shutil.copy(made, user_folder / "models" / f"{name}.safetensors")
    assert len([entry for entry in list_models() if entry.source == "user"]) == 3
    assert resolve_model("x" * 120).is_file()
    register_model(made, "another")


def test_a_model_is_not_written_over_what_is_not_of_it(made, tmp_path):
    refuse_other_model(made, made)
    refuse_other_model(tmp_path / "new.safetensors", made)
    shutil.copy(made, tmp_path / "copy.safetensors")
    refuse_other_model(tmp_path / "copy.safetensors", made)
    (tmp_path / "mine.safetensors").write_bytes(b"my own weights")
    with pytest.raises(OutputError, match="is not of the model"):
        refuse_other_model(tmp_path / "mine.safetensors", made)
    other = ModelCard(encoder="test_vit", classes=("a", "b"), input_size=64, name="other")
    save_checkpoint(tmp_path / "other.safetensors", other.build(), other)
    with pytest.raises(OutputError, match="is not of the model"):
        refuse_other_model(tmp_path / "other.safetensors", made)
