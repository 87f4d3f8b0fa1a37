"""What the command line shows: errors, results and progress, each where it belongs.

Results go to stdout; progress, warnings and errors to stderr, progress only where stderr is a terminal. A
training whose output goes to a log instead writes a line an epoch to stdout, unless its folder is watched.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from pixelcam.events import Event, EventSink


def print_error(sentence: str) -> None:
    """Print one sentence on stderr, on one line whatever the width of the terminal."""
    red, plain = ("\x1b[31m", "\x1b[0m") if sys.stderr.isatty() else ("", "")
    line = sentence.replace("\r", "\\r").replace("\n", "\\n")  # which names of files may hold
    print(f"{red}{_printable(line, sys.stderr)}{plain}", file=sys.stderr)  # noqa: T201


def print_note(text: str) -> None:
    """Tell a person on stdout; silent where stdout is no terminal."""
    if sys.stdout.isatty():
        print_result(text)


def print_result(text: str) -> None:
    """Print what the command was run for on stdout, terminal or not."""
    print(_printable(text, sys.stdout))  # noqa: T201


def _printable(text: str, stream: TextIO) -> str:
    """Return text with what a stream cannot encode, such as names that are no text, spelled out."""
    encoding = stream.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def print_json(document: Mapping[str, Any] | list[Any]) -> None:
    """Print one JSON document on stdout."""
    print_result(json.dumps(document, indent=2))


def print_event(event: Event) -> None:
    """Print one event as a line of JSON, at once: whoever reads it follows the work."""
    print(event.to_json(), flush=True)  # noqa: T201


def print_table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print rows on stdout: in columns for people, separated by tabs where stdout is no terminal."""
    if not sys.stdout.isatty():
        for row in rows:
            print_result("\t".join(row))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)


@contextmanager
def show_progress(as_json: bool = False, epochs: bool = False) -> Iterator[EventSink]:
    """Yield a sink that shows events: bars on stderr for people, warnings alone where there is no terminal.

    Parameters
    ----------
    as_json
        Print each event on stdout as a line of JSON instead.
    epochs
        Print the figures of each epoch on stdout where there is no terminal.
    """
    if as_json:
        yield print_event
    elif not sys.stderr.isatty():
        from pixelcam.jobs.folder import TOKEN_VARIABLE

        yield _print_epoch if epochs and TOKEN_VARIABLE not in os.environ else _print_warning
    else:
        with _bars() as sink:
            yield sink


def _print_warning(event: Event) -> None:
    if event.kind == "warning":
        print(event.message, file=sys.stderr, flush=True)  # noqa: T201


def _print_epoch(event: Event) -> None:
    _print_warning(event)
    if event.kind in ("epoch", "validation") and event.metrics:
        print(f"{_title(event)}: {_figures(event)}", flush=True)  # noqa: T201


@contextmanager
def _bars() -> Iterator[EventSink]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}", style="dim"),
    )
    with Progress(*columns, console=console) as progress:
        yield _BarSink(progress)


class _BarSink:
    """Draws events on a rich `Progress`: one bar a stage."""

    def __init__(self, progress: Any) -> None:
        self._progress = progress
        self._bars: dict[str, Any] = {}

    def __call__(self, event: Event) -> None:
        from rich.text import Text

        if event.message and event.kind != "failed":  # a failure is told at the end
            style = "yellow" if event.kind == "warning" else ""
            self._progress.console.print(Text(event.message, style=style))
        if event.kind == "validation" and event.metrics:
            self._progress.console.print(Text(f"{_title(event)}: {_figures(event)}"))
        if event.stage and event.kind in ("started", "step", "epoch"):
            self._move(event)

    def _move(self, event: Event) -> None:
        if event.stage not in self._bars:
            self._bars[event.stage] = self._progress.add_task(_title(event), total=None, figures="")
        changes: dict[str, Any] = {"description": _title(event)}
        if event.metrics:
            changes["figures"] = _figures(event)
        if event.step is not None:
            changes["completed"] = event.step
        if event.total is not None:
            changes["total"] = event.total
        self._progress.update(self._bars[event.stage], **changes)


def _title(event: Event) -> str:
    epoch = f" epoch {event.epoch}" if event.epoch is not None else ""
    return f"{event.stage}{epoch}" + (f"/{event.epochs}" if epoch and event.epochs else "")


# What an agreement is with: it is no measure of how good the model is elsewhere.
_TOLD = {("finetune", "agreement"): "% agreement with the strokes it was taught"}


def _figures(event: Event) -> str:
    told = [(name, _TOLD.get((event.stage, name)), value) for name, value in event.metrics.items()]
    return "  ".join(f"{value:.4g} {said}" if said else f"{name} {value:.4g}" for name, said, value in told)
