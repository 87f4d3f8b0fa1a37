"""`make torture`: all trials at their full length, resumable, and the table that is kept of them.

    python -m tests.reliability --results FOLDER [--part PART]... [--table docs/reliability.md]

Each piece of work leaves a JSON file in the folder of results, and is not done again; the table counts what
is there.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from tests.reliability import table
from tests.reliability.pieces import LONG, PARTS, SHORT, Place, pieces
from tests.reliability.tally import Tally


def main(arguments: list[str] | None = None) -> int:
    """Do what is not done yet, print the table, and return 0 if nothing was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.reliability", description=__doc__)
    parser.add_argument("--results", type=Path, required=True, help="folder that a later call goes on in")
    parser.add_argument("--part", action="append", choices=PARTS, help="only this, several times for several")
    parser.add_argument("--short", action="store_true", help="the length of `make test`")
    parser.add_argument("--minutes", type=float, default=1e6, help="begin nothing new after so long")
    parser.add_argument("--table", type=Path, help="also write the table to this file")
    given = parser.parse_args(arguments)
    results: Path = given.results.absolute()
    results.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 60 * given.minutes
    place = Place(results / "work")
    for piece in pieces(SHORT if given.short else LONG, given.part or PARTS):
        kept = results / f"{piece.name}.json"
        if kept.exists():
            continue
        if time.monotonic() > end:
            print("Out of time; the same command goes on.", flush=True)
            break
        began = time.time()
        tally = piece.run(place)
        about = {"part": piece.part, "seconds": round(time.time() - began), "when": time.strftime("%Y-%m-%d")}
        about |= {"machine": table.machine(), "revision": table.revision()}
        kept.write_text(json.dumps({**about, **tally.to_json()}, indent=1))
        print(f"{piece.name}: {dict(tally.counts)}", flush=True)
        if tally.complaint():
            print(tally.complaint()[:4000], flush=True)
    place.close()
    found = [json.loads(path.read_text()) for path in sorted(results.glob("*.json"))]
    text = table.text(found)
    print(text)
    if given.table is not None:
        table.put(given.table, text)
    return int(any(Tally.from_json(one).complaint() for one in found))


if __name__ == "__main__":
    sys.exit(main())
