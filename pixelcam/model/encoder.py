"""Any timm encoder, CNN or transformer, behind one interface: an image in, feature maps out."""

from __future__ import annotations

import difflib
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import timm
import torch
from torch import Tensor, nn

from pixelcam.errors import CheckpointError, ConfigError
from pixelcam.model.geometry import Grid

FINAL = -1
"""Level number of the encoder's final map, the one that the image head classifies."""

_LOCK = threading.Lock()
"""Held while an encoder runs: what one thread has hooked to it must not see the maps of another."""


@dataclass(frozen=True)
class EncoderInfo:
    """What is fixed about an encoder once it is built.

    Attributes
    ----------
    channels, strides
        Of each intermediate level, in the order of timm's ``feature_info``.
    modules
        Name of the module whose output each level is, for hooks.
    final_channels
        Channels of the final map.
    transformer
        Whether the encoder works on patch tokens; it then sees best at its own input size.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    modules: tuple[str, ...]
    final_channels: int
    transformer: bool

    def level_channels(self, level: int) -> int:
        """Return the channels of a level, `FINAL` included."""
        return self.final_channels if level == FINAL else self.channels[level]

    @property
    def step(self) -> int:
        """What image sides must be divisible by, for every level's cells to lie where `grid` says."""
        return self.strides[0] if self.transformer else max(32, *self.strides)

    def grid(self, level: int) -> Grid:
        """Return where a level's cells lie in the image; the final map has the last level's stride."""
        return Grid.plain(self.strides[level])


class Encoder(nn.Module):
    """An unmodified timm model without its classifier, giving NCHW maps.

    Parameters
    ----------
    name
        Name in timm's registry, e.g. ``"resnet50"`` or ``"deit_tiny_patch16_224"``.
    output_stride
        Stride of the deepest map of a CNN (8, 16 or 32); ``None`` keeps the encoder's own. Transformers have
        the stride of their patches and take only ``None``.
    pretrained
        Let timm fetch its ImageNet weights from the Hugging Face hub.

    Raises
    ------
    ConfigError
        timm does not know the name, or the encoder cannot do that output stride.
    CheckpointError
        The pretrained weights cannot be fetched; the message says which file to pass instead.
    """

    def __init__(self, name: str, *, output_stride: int | None = None, pretrained: bool = False) -> None:
        super().__init__()
        self.name = name
        self.body: Any = _create(name, output_stride, pretrained)
        self.info = _describe(name, self.body)

    def forward(self, images: Tensor, levels: Sequence[int] = ()) -> tuple[Tensor, list[Tensor]]:
        """Return the final map and the maps of the asked levels.

        Parameters
        ----------
        images
            Normalised images, (n, 3, h, w) float; h and w divisible by the encoder's largest stride.
        levels
            Level numbers; `FINAL` repeats the final map.

        Returns
        -------
        final, maps
            ``final`` is (n, c, h / s, w / s); ``maps`` holds one such tensor a level, each at its own stride.
        """
        wanted = sorted({level for level in levels if level != FINAL})
        with _LOCK:
            final, found = self.body.forward_intermediates(images, indices=wanted or [0], output_fmt="NCHW")
        if self.info.transformer:
            final = self.tokens_to_map(final, (images.shape[2], images.shape[3]))
        by_level: dict[int, Tensor] = dict(zip(wanted, found, strict=False))
        by_level[FINAL] = final
        return final, [by_level[level] for level in levels]

    def forward_each(
        self, images: Tensor, levels: Sequence[int], work: Sequence[Callable[[Tensor], Tensor]]
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the final map, and what each work makes of its level's map, which is not kept.

        For inference: maps that are kept until the end make an encoder take fresh memory for all that
        follows, and on a CPU that costs EfficientNet-Lite0 a seventh of its time.

        Parameters
        ----------
        images, levels
            As for `forward`.
        work
            One function a level, of a map (n, c, h, w).
        """
        shape, made = (images.shape[2], images.shape[3]), {}

        def keep(place: int, module: nn.Module, inputs: object, output: Tensor) -> None:
            made[place] = work[place](self.tokens_to_map(output, shape) if self.info.transformer else output)

        with _LOCK:
            handles = [
                self.body.get_submodule(self.info.modules[level]).register_forward_hook(partial(keep, place))
                for place, level in enumerate(levels)
                if level != FINAL
            ]
            try:
                final = self.body.forward_features(images)
            finally:
                for handle in handles:
                    handle.remove()
        if self.info.transformer:
            final = self.tokens_to_map(final, shape)
        made |= {place: work[place](final) for place, level in enumerate(levels) if level == FINAL}
        return final, [made[place] for place in range(len(levels))]

    def tokens_to_map(self, tokens: Tensor, shape: tuple[int, int]) -> Tensor:
        """Return a transformer's tokens (n, t, c) of images of that shape as a map (n, c, h, w)."""
        patches = tokens[:, getattr(self.body, "num_prefix_tokens", 0) :]
        height, width = self.body.patch_embed.dynamic_feat_size(shape)
        return patches.transpose(1, 2).reshape(len(tokens), -1, height, width)


def encoder_info(name: str) -> EncoderInfo:
    """Return what is fixed about an encoder at its own output stride, without making its weights.

    Raises
    ------
    ConfigError
        timm does not know the name, or the encoder's maps are not what a pixel head needs: some transformers
        take images of one size only, some CNNs have layers without padding.
    """
    with torch.device("meta"):
        encoder = Encoder(name)
        fits = _gives_plain_maps(encoder)
    if not fits:
        raise ConfigError(
            f"The encoder {name} does not give whole maps of images of any size; choose another, "
            "for example tf_efficientnet_lite0, resnet18 or deit_tiny_patch16_224."
        )
    return encoder.info


def _gives_plain_maps(encoder: Encoder) -> bool:
    """Say whether an encoder on the meta device gives maps of the sizes and channels that it announces.

    In both ways: what timm collects of them, and what comes out of the modules that it names.
    """
    info = encoder.eval().info
    sides = (8 * info.step, 10 * info.step)
    levels = [*range(len(info.strides)), FINAL]
    shapes = [(1, info.level_channels(n), *(side // info.strides[n] for side in sides)) for n in levels]
    images = torch.zeros(1, 3, *sides, device="meta")
    try:
        collected = encoder(images, levels)[1]
        hooked = encoder.forward_each(images, levels, [Tensor.contiguous] * len(levels))[1]
        return [*map(_shape, collected)] == [*map(_shape, hooked)] == shapes
    except Exception:  # each architecture fails in its own way on sizes that it was not made for
        return False


def _shape(found: Tensor) -> tuple[int, ...]:
    return tuple(found.shape)


_KINDS = frozenset({"weight", "bias", "running_mean", "running_var"})
# What timm calls the classifiers of its models, and those that ports and torchvision use.
_CLASSIFIERS = ("head", "head_dist", "fc", "classifier", "last_linear", "logits", "output")
# Counters and tables that follow from the architecture: files may hold them or not.
_COUNTER = "num_batches_tracked"
_COMPUTED = frozenset({_COUNTER, "relative_position_index", "relative_coords_table", "attn_mask"})
_MOST_NAMED = 3
_GIVE = "Give a file of this very encoder and of nothing else."


def load_encoder_weights(
    encoder: Encoder, tensors: Mapping[str, Tensor], in_order: bool = True
) -> tuple[str, ...]:
    """Copy a user's backbone weights into an encoder, by name or, failing that, by order.

    Names count whatever stands before all of them, such as ``module.``, ``encoder.`` or ``visual.trunk.``.
    Ports of one architecture to another library often hold the same tensors, in the same order, under other
    names (EfficientNet-Lite0 does); when names do not match, tensors are matched by order and must fit shape
    by shape. Every tensor of the file is used, but for those of one classifier of images, and for counters
    and tables that follow from the architecture.

    Parameters
    ----------
    encoder
        Changed in place.
    tensors
        Name to tensor, as stored in the file.
    in_order
        Whether they are in the order of the layers. A safetensors file does not keep it.

    Returns
    -------
    tuple of str
        The tensors of a classifier that were left out.

    Raises
    ------
    CheckpointError
        The tensors are of another architecture: some are missing, of another shape, or left over.
    """
    broken = next((key for key, value in tensors.items() if not value.isfinite().all()), None)
    if broken is not None:
        raise CheckpointError(f"The weights hold values that are no numbers, in {broken}; give another file.")
    target = encoder.body.state_dict()
    prefix, matches = _prefix(target, tensors)
    if 2 * matches > len(target):
        return _load_by_name(encoder, target, tensors, prefix)
    matched = _match_by_order(encoder, target, tensors) if in_order else None
    if matched is None:
        raise CheckpointError(
            f"The weights do not fit the encoder {encoder.name}: neither their names nor their shapes in "
            "order match; give a file of this encoder, with timm's names, or a PyTorch file (.pth): "
            "safetensors keeps no order."
        )
    ordered, left_out = matched
    encoder.body.load_state_dict(ordered)
    return left_out


def _prefix(target: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> tuple[str, int]:
    """Return what stands before the encoder's own names in a file, and how many of them it holds so."""
    found = Counter(
        key[: len(key) - len(ending)] for key in tensors for ending in _endings(key) if ending in target
    )
    return max(found.items(), key=lambda item: (item[1], -len(item[0])), default=("", 0))


def _endings(key: str) -> Iterator[str]:
    parts = key.split(".")
    yield from (".".join(parts[at:]) for at in range(len(parts)))


def _load_by_name(
    encoder: Encoder, target: Mapping[str, Tensor], tensors: Mapping[str, Tensor], prefix: str
) -> tuple[str, ...]:
    named = {key: tensors[prefix + key] for key in target if prefix + key in tensors}
    lacking = [key for key in target if key not in named and key.rpartition(".")[2] not in _COMPUTED]
    other = [key for key, value in named.items() if value.shape != target[key].shape]
    rest = [key for key in tensors if key.removeprefix(prefix) not in named or not key.startswith(prefix)]
    rest = [key for key in rest if key.rpartition(".")[2] not in _COMPUTED]
    classifier = tuple(
        key for key in rest if _is_of_classifier(encoder, key.removeprefix(prefix), tensors[key])
    )
    foreign = [key for key in rest if key not in classifier]
    problems = []
    if lacking:
        problems.append(f"they lack {_some(lacking)}")
    if other:
        shapes = [f"{key} {_size(named[key])} instead of {_size(target[key])}" for key in other]
        problems.append(f"of another shape are {_some(shapes)}")
    if foreign:
        problems.append(f"the encoder has no {_some(foreign)}")
    if problems:
        raise CheckpointError(
            f"The weights do not fit the encoder {encoder.name}: {'; '.join(problems)}. {_GIVE}"
        )
    encoder.body.load_state_dict({**target, **named})
    return classifier


def _is_of_classifier(encoder: Encoder, key: str, value: Tensor) -> bool:
    """Return whether a tensor is the weight or bias of a linear classifier of the encoder's features."""
    module, _, kind = key.rpartition(".")
    described = getattr(encoder.body, "pretrained_cfg", None) or {}
    own = described.get("classifier") or ()
    known = {*_CLASSIFIERS, *((own,) if isinstance(own, str) else own)}
    if module not in known and not any(module == f"{name}.fc" for name in known):
        return False
    return value.dim() == 1 if kind == "bias" else kind == "weight" and value.dim() in (2, 4)


def _some(names: Sequence[str]) -> str:
    """Return the first of many names, and how many more there are."""
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def _size(value: Tensor) -> str:
    return " x ".join(map(str, value.shape)) or "1"


def _match_by_order(
    encoder: Encoder, target: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], tuple[str, ...]] | None:
    """Return the tensors under the encoder's names, one after the other; None where they are of another one.

    Shapes alone do not tell a weight of batch normalisation from its bias or its running mean, all of which
    have one value a channel: safetensors sorts them by name. So what they are called must agree too. What is
    left out must be a classifier's weight and bias at the end.
    """
    counted = {key: value for key, value in target.items() if not key.endswith(_COUNTER)}
    kept = [(key, value) for key, value in tensors.items() if value.dim() > 0]
    scalars = [value for value in tensors.values() if value.dim() == 0]
    if len(kept) < len(counted) or any(value.is_floating_point() for value in scalars):
        return None
    pairs = list(zip(counted.items(), kept, strict=False))
    if any(wanted.shape != value.shape or _other(name, key) for (name, wanted), (key, value) in pairs):
        return None
    rest = kept[len(counted) :]
    shapes = [tuple(value.shape) for _, value in rest]
    if rest and not _is_classifier(shapes, encoder.info.final_channels):
        raise CheckpointError(
            f"The weights do not fit the encoder {encoder.name}: "
            f"it has no {_some([key for key, _ in rest])}. {_GIVE}"
        )
    matched = {name: value for (name, _), (_, value) in pairs}
    return {key: matched.get(key, value) for key, value in target.items()}, tuple(key for key, _ in rest)


def _is_classifier(shapes: Sequence[tuple[int, ...]], channels: int) -> bool:
    """Return whether shapes are those of a linear classifier of so many channels, its bias last if any."""
    weight, *bias = shapes
    linear = len(weight) in (2, 4) and weight[1:] in ((channels,), (channels, 1, 1))
    return linear and bias in ([], [weight[:1]])


def _other(name: str, key: str) -> bool:
    """Return whether two tensors are known to be of different kinds by the last parts of their names."""
    kinds = {one.rpartition(".")[2] for one in (name, key)} & _KINDS
    return len(kinds) > 1


def _create(name: str, output_stride: int | None, pretrained: bool) -> nn.Module:
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=3)
        hint = f"; near it: {', '.join(near)}" if near else ""
        raise ConfigError(f"timm has no encoder named {name!r}{hint}.")
    options: dict[str, Any] = {} if output_stride is None else {"output_stride": output_stride}
    if _is_vision_transformer(name):
        if output_stride is not None:
            raise ConfigError(
                f"{name} is a transformer with a fixed patch size: leave the output stride out."
            )
        options["dynamic_img_size"] = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            body: nn.Module = timm.create_model(name, pretrained=pretrained, num_classes=0, **options)
    except (TypeError, NotImplementedError, AssertionError) as error:
        raise ConfigError(
            f"The encoder {name} cannot be built with output stride {output_stride}: {error}."
        ) from error
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise
        raise CheckpointError(
            f"The ImageNet weights of {name} cannot be fetched from the Hugging Face hub: "
            f"download the safetensors file of timm/{name} on a machine that can "
            "and pass it with --weights FILE."
        ) from error
    if not hasattr(body, "forward_intermediates"):
        raise ConfigError(
            f"The encoder {name} gives no intermediate maps in this version of timm; choose another."
        )
    return body


def _is_vision_transformer(name: str) -> bool:
    return timm.models.model_entrypoint(name).__module__.endswith(("vision_transformer", "deit"))


def _describe(name: str, body: Any) -> EncoderInfo:
    features = body.feature_info
    entries = list(getattr(features, "info", features))
    return EncoderInfo(
        channels=tuple(int(entry["num_chs"]) for entry in entries),
        strides=tuple(int(entry["reduction"]) for entry in entries),
        modules=tuple(str(entry["module"]) for entry in entries),
        final_channels=int(body.num_features),  # some have further layers after pooling, which are left out
        transformer=_is_vision_transformer(name),
    )
