"""`pixelcam review report`: a project on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelcam.cli.console import print_error, print_note


def report(
    folder: Annotated[Path, typer.Argument(help="The project's folder.", metavar="FOLDER")],
    out: Annotated[Path, typer.Option(help="The HTML file to write.", metavar="FILE")],
    pictures: Annotated[
        int, typer.Option(help="Of how many images to show pictures; the others are listed.", min=0)
    ] = 500,
) -> None:
    """Write a project's report as one HTML page that opens without a network.

    It tells progress and time by reviewer, their agreement, areas by class, every image before and after
    correction, and which models were used. The project is only read: others may be working in it.
    """
    from pixelcam.review import Project
    from pixelcam.review.report import write_report

    with Project.open(folder, reviewer="report", read_only=True) as project:
        if project.warning:
            print_error(project.warning)
        print_note(f"Written to {write_report(project, out, pictures=pictures)}.")
