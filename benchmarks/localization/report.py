"""Writing what the cells gave: the table, and the figures beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pixelcam
from benchmarks.localization import figures, table
from benchmarks.localization.commands import Places
from benchmarks.localization.plan import MASK_FREE, SELECTIONS, Plan
from benchmarks.localization.run import Target, at_hand
from pixelcam.datasets import open_dataset
from pixelcam.errors import PixelCAMError
from pixelcam.export.atomic import write_text

WORST = 6


def read_records(plan: Plan, results: Path) -> list[dict[str, Any]]:
    """Return the cells of a table that `write_table` wrote; none where there is no such table."""
    path = _document(plan, results)
    document = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    cells: list[dict[str, Any]] = document.get("cells", [])
    return cells


def _document(plan: Plan, results: Path) -> Path:
    return results / f"localization-{plan.name}.json"


def write_table(
    plan: Plan, records: Sequence[table.Record], planned: int, results: Path, notes: Sequence[str]
) -> None:
    """Write ``localization-<plan>.md`` and ``.json``."""
    document = table.to_json(plan.name, records, planned)
    write_text(_document(plan, results), json.dumps(document, indent=1) + "\n")
    page = table.to_markdown(plan.name, records, planned, notes)
    write_text(results / f"localization-{plan.name}.md", page)


def write_figures(plan: Plan, records: Sequence[table.Record], places: Places, results: Path) -> list[Path]:
    """Draw all figures; those that show images of GlaS go to the work folder, and are not in the result.

    Figures of what the table no longer has are removed.

    Returns
    -------
    list of Path
        The figures under `results`.
    """
    folder, prefix = results / "figures", f"localization-{plan.name}"
    written = []
    done = [record for record in records if "failure" not in record]
    kept = set()
    for dataset, scheme in dict.fromkeys((record["dataset"], record["scheme"]) for record in done):
        path = folder / f"{prefix}-curves-{dataset}-{scheme}.png"
        curves = _curves([r for r in done if (r["dataset"], r["scheme"]) == (dataset, scheme)])
        kept.add(path)
        if curves:
            figures.draw_curves(curves, f"Training on {figures.title_of(dataset, scheme)}", path)
            written.append(path)
    for title, _, lines in table.sections(table.summarise(records)):
        path = folder / f"{prefix}-rows-{_slug(lines[0])}.png"
        figures.draw_rows(lines, title, path)
        written.append(path)
    for part in ("curves", "rows"):
        for path in set(folder.glob(f"{prefix}-{part}-*.png")) - kept - set(written):
            path.unlink()
    return written + _write_cases(prefix, done, places, folder)


def _curves(records: Sequence[table.Record]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the curves of the pixel heads that were trained, each once, under the first row that has it.

    None where a record holds none, as of old: a figure without it would say less than the one that is there.
    """
    runs: dict[str, table.Record] = {}
    for record in records:
        if not record["teacher"]:
            runs.setdefault(record["run"], record)
    if not all("curve" in record["trained"] for record in runs.values()):
        return []
    return [(record["row"], record["trained"]["curve"]) for record in runs.values()]


def _slug(line: table.Line) -> str:
    source = f"{line.dataset}-to-" if line.across else ""
    return f"{source}{line.measured_on}-{line.scheme}-{line.split}"


def _write_cases(prefix: str, done: Sequence[table.Record], places: Places, folder: Path) -> list[Path]:
    """Draw the worst cases of each data set, of the first row that measures the pixel head on it."""
    written = []
    for dataset in ("ebhi", "glas"):
        target = next(
            (
                Target(dataset, split, 0, "official", ())
                for split in ("test", "valcl")
                if at_hand(Target(dataset, split, 0, "official", ()), places)
            ),
            None,
        )
        own = [
            r
            for r in done
            if not r["teacher"] and (r["dataset"], r["scheme"], r["fold"]) == (dataset, "official", 0)
        ]
        if target is None or not own:
            continue
        record = own[0]
        checkpoint = (
            places.work / "runs" / record["run"] / "checkpoints" / f"{SELECTIONS[MASK_FREE]}.safetensors"
        )
        try:
            localizer = pixelcam.load(checkpoint)
        except PixelCAMError:  # the run has been cleared away; its figures are still in the table
            continue
        images = open_dataset(dataset, places.roots[dataset], target.split, 0, "official")
        cases = figures.worst_cases(localizer, images, WORST)
        if not cases:
            continue
        public = dataset in figures.REDISTRIBUTABLE
        path = (folder if public else places.work / "figures") / f"{prefix}-worst-{dataset}.png"
        title = f"{record['row']}, trained on {table.TITLES[dataset]}: the worst of {len(images)} images"
        credit = figures.CREDIT[dataset]
        figures.draw_cases(cases, images.classes, localizer.card.threshold, title, credit, path)
        written += [path] if public else []
    return written
