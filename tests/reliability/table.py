"""The table of what was tried and found, beside what is promised."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.reliability.server import ROOT
from tests.reliability.tally import KINDS, Tally

BEGIN, END = "<!-- begin of the table -->", "<!-- end of the table -->"

ROWS = (
    ("saves", "A reviewer is killed at work", ("kills at random", "kills at a call", "acknowledged")),
    ("writes", "Writes that fail (disk full, broken, read-only, no more files)", ("failed writes",)),
    ("kills", "Commands are killed at a call that changes a file", ("kills at a call",)),
    ("power", "Power cuts", ("power cuts", "acknowledged")),
    ("rot", "Bytes of a project rot", ("places", "ended whole", "ended in part", "ended refused")),
    ("mutants", "Damaged files of every kind that is read", ("mutants",)),
    ("hostile", "Hostile files", ("files",)),
    ("together", "Two write to one project, one reads", ("seconds", "acknowledged", "looks")),
    ("day", "A day of many images", ("core: images", "window: images", "core: MB more", "window: MB more")),
)  # fmt: skip
NAMES = {"acknowledged": "acknowledged saves", "places": "places", "looks": "readings", "seconds": "seconds"}


def machine() -> str:
    """Return what the figures were made on, in a line."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    system = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    return f"{model}, {os.cpu_count()} cores, {system}"


def revision() -> str:
    """Return the commit, "" where it cannot be told."""
    done = subprocess.run(
        ["git", "rev-parse", "--short=10", "HEAD"], cwd=ROOT, capture_output=True, text=True
    )
    return done.stdout.strip()


def text(found: Sequence[dict[str, Any]]) -> str:
    """Return the table, in Markdown."""
    lines = [
        "| what happens | how often | lost | broken | raw errors | over 4 GB | over 10 s |",
        "|---|---|---|---|---|---|---|",
    ]
    total = Tally()
    for part, words, counts in ROWS:
        tally, own = Tally(), [one for one in found if one["part"] == part]
        for one in own:
            tally.merge(Tally.from_json(one))
        total.merge(tally)
        if not own:
            lines.append(f"| {words} | not run | | | | | |")
            continue
        told = [
            f"{tally.counts[name]:,.0f} {NAMES.get(name, name)}" for name in counts if name in tally.counts
        ]
        told += [name for name in tally.counts if name.endswith("not possible here")]
        figures = [str(tally.number(kind)) for kind in KINDS]
        lines.append(f"| {words} | {', '.join(told)} | {' | '.join(figures)} |")
    lines.append(f"| **all** | | {' | '.join(f'**{total.number(kind)}**' for kind in KINDS)} |")
    when = sorted({one["when"] for one in found})
    lines += ["", f"Run on {' to '.join([when[0], when[-1]][: len(when)])}, by `make torture`, in "
              f"{sum(one['seconds'] for one in found) / 60:.0f} minutes."] if when else []  # fmt: skip
    lines += [f"Machine: {one}." for one in sorted({one["machine"] for one in found})]
    of = sorted({one["revision"] for one in found} - {""})
    lines += [f"Commits: {', '.join(of)}."] if of else []
    rest = [(kind, what, number) for kind in KINDS for what, number in sorted(total.found[kind].items())]
    if rest:
        lines += ["", "What was found, by where it comes from:", ""]
        lines += [f"- {number} x {kind}: {' '.join(what.split())[:200]}" for kind, what, number in rest]
    return "\n".join(lines)


def put(path: Path, new: str) -> None:
    """Replace the table in a document."""
    old = path.read_text(encoding="utf-8")
    before, _, rest = old.partition(BEGIN)
    after = rest.partition(END)[2]
    path.write_text(f"{before}{BEGIN}\n{new}\n{END}{after}", encoding="utf-8")
