"""A user's own backbone weights, by name and by order."""

import pickle

import pytest
import torch
from safetensors.torch import save_file

from pixelcam.errors import CheckpointError
from pixelcam.model import Encoder, load_encoder_weights
from pixelcam.model.weights import read_weights

pytestmark = pytest.mark.usefixtures("one_thread")

NAME = "test_efficientnet"


@pytest.fixture(scope="module")
def trained():
    """The tensors of an encoder that is not a fresh one, with a classifier after them."""
    torch.manual_seed(0)
    tensors = {
        key: torch.rand_like(value) if value.is_floating_point() else value + 7
        for key, value in Encoder(NAME).body.state_dict().items()
    }
    return {**tensors, "classifier.weight": torch.rand(10, 256), "classifier.bias": torch.rand(10)}


@pytest.fixture
def encoder():
    torch.manual_seed(1)
    return Encoder(NAME)


def assert_loaded(encoder, trained, *, counters=True):
    for key, value in encoder.body.state_dict().items():
        if counters or not key.endswith("num_batches_tracked"):
            assert torch.equal(value, trained[key]), key


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "encoder.body.", "backbone."])
def test_weights_are_matched_by_name_under_the_usual_prefixes(encoder, trained, prefix):
    named = {prefix + key: value for key, value in reversed(trained.items())}
    load_encoder_weights(encoder, named | {"epoch.of.something.else": torch.zeros(3)})
    assert_loaded(encoder, trained)


def test_weights_of_a_port_with_other_names_are_matched_by_order(encoder, trained):
    renamed = {f"layer{index}": value for index, value in enumerate(trained.values())}
    load_encoder_weights(encoder, renamed)
    assert_loaded(encoder, trained, counters=False)


@pytest.mark.parametrize("spoil", ["fewer", "shape", "none"])
def test_weights_of_another_architecture_are_refused(encoder, trained, spoil):
    values = [] if spoil == "none" else list(trained.values())
    if spoil == "fewer":
        values = values[:40]
    elif spoil == "shape":
        values[0] = torch.rand(3, 3)
    before = {key: value.clone() for key, value in encoder.body.state_dict().items()}
    with pytest.raises(CheckpointError, match=f"do not fit the encoder {NAME}"):
        load_encoder_weights(encoder, {f"layer{index}": value for index, value in enumerate(values)})
    assert_loaded(encoder, before)


def test_a_file_that_keeps_no_order_is_not_matched_by_it(encoder, trained):
    renamed = {f"layer{i}.{key.rpartition('.')[2]}": trained[key] for i, key in enumerate(trained)}
    load_encoder_weights(encoder, renamed)
    assert_loaded(encoder, trained, counters=False)
    with pytest.raises(CheckpointError, match="keeps no order"):
        load_encoder_weights(encoder, renamed, in_order=False)
    # All tensors of a batch normalisation have one shape: sorted, as safetensors gives them, none would be
    # found out by it.
    order = {key: place for place, key in enumerate(trained)}
    first = {}
    for key in trained:
        first.setdefault(key.rpartition(".")[0], order[key])
    names = sorted(trained, key=lambda key: (first[key.rpartition(".")[0]], key))
    with pytest.raises(CheckpointError, match="do not fit"):
        load_encoder_weights(encoder, {f"port.{key}": trained[key] for key in names})


def test_weights_that_are_no_numbers_are_refused(encoder, trained):
    key = next(iter(trained))
    with pytest.raises(CheckpointError, match=f"no numbers, in {key}"):
        load_encoder_weights(encoder, {**trained, key: trained[key] * float("nan")})


@pytest.mark.parametrize("wrapping", [None, "state_dict", "model"])
def test_a_pytorch_file_of_tensors_is_read(tmp_path, trained, wrapping):
    torch.save(trained if wrapping is None else {wrapping: trained, "epoch": 3}, tmp_path / "w.pth")
    found = read_weights(tmp_path / "w.pth")
    assert all(torch.equal(found[key], value) for key, value in trained.items())


def test_a_safetensors_file_is_read(tmp_path, trained):
    save_file(trained, tmp_path / "w.safetensors")
    assert read_weights(tmp_path / "w.safetensors").keys() == trained.keys()


class Trap:
    def __reduce__(self):
        return (pytest.fail, ("it was unpickled",))


def cut(path):
    torch.save({"a": torch.rand(100)}, path)
    path.write_bytes(path.read_bytes()[:300])


@pytest.mark.parametrize(
    "make",
    [
        lambda path: torch.save({"a": torch.rand(2), "trap": Trap()}, path),
        lambda path: path.write_bytes(pickle.dumps(Trap())),
        lambda path: path.write_bytes(pickle.dumps({"a": 1})),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"not a model at all"),
        lambda path: path.write_bytes(b"\x80\x02K\x01"),
        lambda path: path.write_text("PK nonsense"),
        lambda path: torch.save([torch.rand(2)], path),
        lambda path: torch.save({"epoch": 3}, path),
        cut,
    ],
)
def test_what_is_damaged_or_might_run_code_is_refused(tmp_path, make):
    path = tmp_path / "w.pt"
    make(path)
    with pytest.raises(CheckpointError, match=r"w\.pt"):
        read_weights(path)


def test_a_damaged_safetensors_file_and_a_missing_one_are_refused(tmp_path):
    (tmp_path / "w.safetensors").write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match="damaged"):
        read_weights(tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match="no weights file"):
        read_weights(tmp_path / "gone.safetensors")
