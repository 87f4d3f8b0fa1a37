"""`pixelcam doctor`: whether this machine has what is needed, and how to get what is missing."""

from __future__ import annotations

from dataclasses import asdict

import typer

from pixelcam.cli import options
from pixelcam.cli.console import print_json, print_table


def doctor(as_json: options.AsJson = False) -> None:
    """Look over this machine: Python, device, Qt, OpenGL, disk; say what is missing and how to get it.

    Exits with 1 when something is missing.
    """
    from pixelcam.doctor import check

    findings = check()
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        rows = [
            (finding.name, "ok" if finding.ok else "MISSING", _told(finding.detail, finding.remedy))
            for finding in findings
        ]
        print_table(("what", "", "found"), rows)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def _told(detail: str, remedy: str) -> str:
    return f"{detail}; {remedy}" if remedy else detail
