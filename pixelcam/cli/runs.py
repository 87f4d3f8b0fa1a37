"""What `pixelcam train` and `pixelcam finetune` share: where settings come from, and work in a run folder."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pixelcam.cli.console import print_result, show_progress
from pixelcam.cli.failures import describe
from pixelcam.errors import ConfigError
from pixelcam.folders import expanded

if TYPE_CHECKING:
    from pixelcam.events import EventSink, StopCheck
    from pixelcam.training.settings import FinetuneSettings, TrainSettings

S = TypeVar("S", "TrainSettings", "FinetuneSettings")
_PLACE = frozenset({"device"})
"""Settings that say where to run and not what: given alone, they do not make other settings."""


def numbers(text: str | None, kind: type[int] | type[float]) -> tuple[float, ...] | None:
    """Return the numbers of a comma-separated list, e.g. ``"2,3,4"``; None stays None.

    Raises
    ------
    ConfigError
        A part is no number.
    """
    if text is None:
        return None
    try:
        return tuple(kind(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(f"{text!r} is not a list of numbers; write them like 2,3,4.") from error


def settle(kind: type[S], given: Mapping[str, Any], config: Path | None, run: Path) -> S:
    """Return the settings of a run.

    Options of the command line win over the settings file. With neither, a run that was begun before goes
    on with its own settings.

    Parameters
    ----------
    kind
        Which settings.
    given
        Options by setting name; None where an option was not given.
    config
        A YAML file with settings by name.
    run
        The run folder.

    Raises
    ------
    ConfigError
        A setting is unknown, missing, of another kind or out of its range.
    RunError
        The run folder's own settings are damaged.
    """
    from pixelcam.model.registry import resolve_model

    options = {name: value for name, value in given.items() if value is not None}
    begun = run / "config.json"
    if config is None and options.keys() <= _PLACE and begun.is_file():
        settings = kind.from_dict({**kind.read_run(begun), **options})
    else:
        settings = kind.from_dict({**(kind.read_yaml(config) if config else {}), **options})
    # A run must mean the same files whichever folder it is resumed from.
    paths = {
        field.name: expanded(value).absolute()
        for field in dataclasses.fields(settings)
        if isinstance(value := getattr(settings, field.name), Path)
    }
    model = getattr(settings, "model", None)  # a name or a file
    if model is not None:
        file = expanded(model)
        if os.path.isfile(file) and resolve_model(model) == file:  # noqa: PTH113 - Path raises for long names
            paths["model"] = file.absolute()
    return kind.from_dict({**settings.to_dict(), **paths})


def work(
    task: Callable[[S, Path, EventSink, StopCheck], None],
    settings: S,
    run: Path,
    *,
    name: str | None,
    as_json: bool,
) -> None:
    """Do the task in the run folder, so that it can be watched, stopped and taken up again.

    Parameters
    ----------
    task
        Trains or fine-tunes.
    settings, run
        What it is called with.
    name
        Under which the finished model is added to the user's models; None adds nothing.
    as_json
        Print the events on stdout.
    """
    from pixelcam.jobs import Run, host_job
    from pixelcam.model.registry import check_new_name, register_model
    from pixelcam.training.engine import keep_freed_memory
    from pixelcam.training.setup import refuse_other_settings

    if name is not None:
        check_new_name(name)
    run = expanded(run).absolute()
    refuse_other_settings(run, settings)  # before the folder's record says that a job failed there
    arguments = tuple(sys.argv[1:])
    keep_freed_memory()
    with (
        show_progress(as_json, epochs=True) as sink,
        host_job(run, arguments, on_event=sink, describe=describe) as job,
    ):
        task(settings, job.folder, job.emit, job.should_stop)
    best = Run.open(run).checkpoint()
    if best is None:
        return
    if name is not None:
        register_model(best, name)
    if not as_json:
        print_result(f"The model is {best}" + (f", and is called {name}." if name else "."))
