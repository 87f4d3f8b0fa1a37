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


@pytest.mark.parametrize(
    "prefix", ["", "module.", "model.", "encoder.body.", "backbone.", "visual.trunk.", "module.net.x."]
)
def test_weights_are_matched_by_name_under_the_usual_prefixes(encoder, trained, prefix):
    named = {prefix + key: value for key, value in reversed(trained.items())}
    left_out = load_encoder_weights(encoder, named)
    assert_loaded(encoder, trained)
    assert sorted(left_out) == [f"{prefix}classifier.bias", f"{prefix}classifier.weight"]


def test_weights_of_a_port_with_other_names_are_matched_by_order(encoder, trained):
    renamed = {f"layer{index}": value for index, value in enumerate(trained.values())}
    assert load_encoder_weights(encoder, renamed) == (*renamed,)[-2:]
    assert_loaded(encoder, trained, counters=False)


FOREIGN = {
    "gate": torch.rand(8),
    "blocks.0.extra.gamma": torch.rand(4),
    "projector.0.weight": torch.rand(5, 256),
    "head.mlp.weight": torch.rand(5, 256),
    "logit_scale": torch.tensor(2.0),
}


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("inside", [True, False])
def test_a_tensor_that_the_encoder_has_no_place_for_is_named_and_refused(
    encoder, trained, name, prefix, inside
):
    before = {key: value.clone() for key, value in encoder.body.state_dict().items()}
    named = {prefix + key: value for key, value in trained.items()}
    key = prefix + name if inside else f"text.{name}"
    with pytest.raises(CheckpointError, match=f"do not fit the encoder {NAME}: the encoder has no {key}"):
        load_encoder_weights(encoder, named | {key: FOREIGN[name]})
    assert_loaded(encoder, before)


def test_a_port_with_more_tensors_than_a_classifier_is_refused(encoder, trained):
    renamed = {f"layer{index}": value for index, value in enumerate(trained.values())}
    for extra in ({"gamma": torch.rand(8)}, {"mixing": torch.rand(9, 256), "shift": torch.rand(9)}):
        with pytest.raises(CheckpointError, match=f"do not fit the encoder {NAME}: it has no "):
            load_encoder_weights(encoder, renamed | extra)


def test_a_missing_tensor_and_one_of_another_shape_are_named(encoder, trained):
    first, second = [key for key in trained if key.endswith("conv_pw.weight")][:2]
    less = {key: value for key, value in trained.items() if key != first}
    with pytest.raises(CheckpointError, match=f"they lack {first}"):
        load_encoder_weights(encoder, less)
    wide = torch.rand(3, *trained[second].shape[1:])
    shape = " x ".join(map(str, trained[second].shape))
    with pytest.raises(CheckpointError, match=rf"of another shape are {second} 3 x .* instead of {shape}\."):
        load_encoder_weights(encoder, trained | {second: wide})


def test_counters_may_be_missing_and_tables_of_the_architecture_be_there(encoder, trained):
    less = {key: value for key, value in trained.items() if not key.endswith("num_batches_tracked")}
    load_encoder_weights(encoder, less | {"layers.0.attn.relative_position_index": torch.zeros(4, 4)})
    assert_loaded(encoder, trained, counters=False)


def test_a_transformer_with_layer_scale_is_no_transformer_without(encoder):
    plain, scaled = Encoder("test_vit"), {}
    for key, value in plain.body.state_dict().items():
        scaled[key] = value
        if key.endswith(("attn.proj.bias", "mlp.fc2.bias")):
            place = "ls1" if "attn" in key else "ls2"
            scaled[f"{key.partition('.attn')[0].partition('.mlp')[0]}.{place}.gamma"] = torch.rand(
                value.shape
            )
    assert len(scaled) - len(plain.body.state_dict()) == 2 * len(plain.body.blocks)
    with pytest.raises(CheckpointError, match=r"the encoder has no blocks\.0\.ls1\.gamma, .* and \d+ more"):
        load_encoder_weights(plain, scaled)
    by_order = {f"t{index}": value for index, value in enumerate(scaled.values())}
    with pytest.raises(CheckpointError, match="do not fit the encoder test_vit"):
        load_encoder_weights(plain, by_order)


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
        load_encoder_weights(encoder, {f"port_{key}": trained[key] for key in names})


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
