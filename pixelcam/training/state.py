"""Where a training run stands, on disk after each epoch: a resumed run equals an uninterrupted one."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from pixelcam.errors import RunError
from pixelcam.export.atomic import atomic_path
from pixelcam.limits import parse_own_json


@dataclass(frozen=True)
class Position:
    """The last completed epoch of a stage, and the best figures so far."""

    stage: str
    epoch: int
    best_pxap: float = -1.0
    best_accuracy: float = -1.0


def save_state(path: Path, network: nn.Module, optimizer: torch.optim.Optimizer, position: Position) -> None:
    """Write the network, the optimiser's momentum and the position in one file, in one step."""
    tensors = {
        f"network.{key}": value.detach().cpu().contiguous().clone()
        for key, value in network.state_dict().items()
    }
    for key, value in _momenta(network, optimizer).items():
        tensors[f"momentum.{key}"] = value.detach().cpu().contiguous().clone()
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={"position": json.dumps(asdict(position))})


def read_position(path: Path) -> Position | None:
    """Return where a run stands, `None` where it has not completed an epoch.

    Raises
    ------
    RunError
        The state is damaged.
    """
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            return Position(**parse_own_json(file.metadata()["position"]))
    except (SafetensorError, OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise RunError(f"The saved state {path} is damaged; delete the run folder and start anew.") from error


def restore_network(path: Path, network: nn.Module) -> None:
    """Load the network's part of a saved state."""
    with safe_open(path, framework="pt") as file:
        keys = [key for key in file.keys() if key.startswith("network.")]  # noqa: SIM118 - not a mapping
        network.load_state_dict({key.removeprefix("network."): file.get_tensor(key) for key in keys})


def restore_momentum(path: Path, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Load the optimiser's part of a saved state; call when the network is on its device."""
    parameters = dict(network.named_parameters())
    with safe_open(path, framework="pt") as file:
        for key in file.keys():  # noqa: SIM118 - not a mapping
            if key.startswith("momentum."):
                parameter = parameters[key.removeprefix("momentum.")]
                optimizer.state[parameter]["momentum_buffer"] = file.get_tensor(key).to(parameter.device)


def _momenta(network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    found = {}
    for name, parameter in network.named_parameters():
        buffer = optimizer.state.get(parameter, {}).get("momentum_buffer")
        if buffer is not None:
            found[name] = buffer
    return found
