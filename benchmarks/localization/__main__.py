"""`python -m benchmarks.localization`: reproduce the localization table; interrupted, it goes on."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.localization.commands import Places, find_weights
from benchmarks.localization.plan import PLANS, Plan, chosen_rows
from benchmarks.localization.report import read_records, write_figures, write_table
from benchmarks.localization.run import Bench
from benchmarks.localization.table import TITLES

HERE = Path(__file__).resolve().parents[1]


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    plan = PLANS[options.settings]()
    try:
        chosen = chosen_rows(plan, options.rows)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    if options.folds:
        chosen = replace(chosen, folds=dict.fromkeys(TITLES, options.folds))
    places = Places(options.work.absolute(), _roots(options), find_weights(dict(options.weights)))
    if not places.roots:
        print("Name the folder of GlaS by --glas or that of EBHI-SEG by --ebhi.", file=sys.stderr)
        return 2
    return bench(
        plan, places, options.results, options.device,
        chosen=chosen, train=not options.table, go_on=options.go_on,
    )  # fmt: skip


def bench(
    plan: Plan,
    places: Places,
    results: Path,
    device: str = "auto",
    *,
    chosen: Plan | None = None,
    train: bool = True,
    go_on: bool = False,
) -> int:
    """Run a plan's cells, or the chosen ones, and write the table after each; then draw the figures.

    Parameters
    ----------
    plan, places
        What the table holds, and where it is run.
    results
        Folder of the table and figures.
    device
        For training and evaluating.
    chosen
        The part of the plan to run; all of it by default. The table keeps what the rest has had run.
    train
        False writes the table and figures of what has been run so far.
    go_on
        Count the cells of the written table as run, wherever that was.
    """
    cells = [cell for cell in plan.cells() if cell.dataset in places.roots]
    published = read_records(plan, results) if go_on else []
    runner = Bench(places, device=device, published=published)
    notes = [
        f"{TITLES[name]} was not at hand: its rows are missing."
        for name in TITLES
        if name not in places.roots
    ]
    known = {cell: record for cell in cells if (record := runner.read(cell)) is not None}
    ended = True
    try:
        wanted = {cell.name for cell in (chosen or plan).cells()} if train else set()
        running = [cell for cell in cells if cell.name in wanted]
        for number, cell in enumerate(running, 1):
            print(f"[{number}/{len(running)}] {cell.name}", flush=True)
            known[cell] = runner.run(cell)
            write_table(plan, [known[each] for each in cells if each in known], len(cells), results, notes)
    except KeyboardInterrupt:
        ended = False
        print("Interrupted; the same command goes on from here.", file=sys.stderr)
    records = [known[cell] for cell in cells if cell in known]
    write_table(plan, records, len(cells), results, notes)
    if ended:
        write_figures(plan, records, places, results)
    print(f"Written to {results / f'localization-{plan.name}.md'}")
    return 0 if ended else 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.localization", description=__doc__)
    parser.add_argument("--settings", choices=sorted(PLANS), default="quick")
    parser.add_argument("--glas", type=Path, help="folder of GlaS; PIXELCAM_GLAS by default")
    parser.add_argument("--ebhi", type=Path, help="folder of EBHI-SEG; PIXELCAM_EBHI by default")
    parser.add_argument(
        "--weights", type=_named_file, action="append", default=[], metavar="ENCODER=FILE",
        help="ImageNet weights of an encoder; PIXELCAM_WEIGHTS_<ENCODER> by default, and for "
        "EfficientNet-Lite0 those of the `train` extra",
    )  # fmt: skip
    parser.add_argument(
        "--rows",
        nargs="*",
        default=[],
        metavar="ROW",
        help="run only these rows, by folder name; the table keeps the others",
    )
    parser.add_argument("--folds", type=int, help="run at most so many folds of each data set")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--table", action="store_true", help="train nothing: write what has been run so far")
    parser.add_argument(
        "--go-on", action="store_true",
        help="count the cells of the table in the folder of results as run, on whichever machine that was",
    )  # fmt: skip
    parser.add_argument("--work", type=Path, default=HERE / ".work", help="folder of the runs and cells")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    return parser


def _named_file(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    if not (name and equals and Path(path).is_file()):
        raise argparse.ArgumentTypeError(f"{text!r} is not ENCODER=FILE with a file that is there")
    return name, Path(path).absolute()


def _roots(options: argparse.Namespace) -> dict[str, Path]:
    roots = {}
    for name in TITLES:
        folder = getattr(options, name) or os.environ.get(f"PIXELCAM_{name.upper()}")
        if folder:
            roots[name] = Path(folder).expanduser().absolute()
    return roots


if __name__ == "__main__":
    sys.exit(main())
