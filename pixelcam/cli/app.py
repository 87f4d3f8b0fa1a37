"""The commands of `pixelcam`, put together; what takes long to import is imported inside them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

import pixelcam
from pixelcam.cli import models, review, simulate
from pixelcam.cli.console import print_result
from pixelcam.cli.demo import demo
from pixelcam.cli.doctor import doctor
from pixelcam.cli.evaluate import evaluate
from pixelcam.cli.export import export
from pixelcam.cli.finetune import finetune
from pixelcam.cli.import_ import import_
from pixelcam.cli.localize import localize
from pixelcam.cli.train import train

app = typer.Typer(
    help="See what a histology classifier sees, correct it, and let it learn from the correction.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 130 cancelled.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _explanation(command: Callable[..., None]) -> str:
    """Return a command's docstring with its paragraphs unwrapped: the terminal knows its own width."""
    paragraphs = (command.__doc__ or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


for command in (localize, train, evaluate, finetune, export, doctor, demo):
    app.command(help=_explanation(command))(command)
app.command("import", help=_explanation(import_))(import_)
app.add_typer(models.app, name="models")
app.add_typer(review.app, name="review")
app.add_typer(simulate.app, name="simulate")


def _print_version(wanted: bool) -> None:
    if wanted:
        print_result(f"pixelcam {pixelcam.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end."),
    ] = False,
) -> None:
    """Hold the options that stand before a command."""
