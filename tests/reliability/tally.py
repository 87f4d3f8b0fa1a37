"""What was tried and what was found, added up and kept as JSON."""

from __future__ import annotations

import traceback
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

KINDS = ("lost", "broken", "raw", "memory", "hang")
"""Lost: an acknowledged save. Broken: a file that is neither old nor new, or a way back that fails. Raw: an
error that is no sentence. Memory: over 4 GB. Hang: over ten seconds."""


@dataclass
class Tally:
    """Counts by name, and findings by kind and fingerprint with an example each."""

    counts: Counter[str] = field(default_factory=Counter)
    found: dict[str, dict[str, int]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    examples: dict[str, Any] = field(default_factory=dict)

    def add(self, name: str, number: int = 1) -> None:
        """Count something."""
        self.counts[name] += number

    def find(self, kind: str, what: str, example: Any = None) -> None:
        """Note something that should not be."""
        self.found[kind][what] = self.found[kind].get(what, 0) + 1
        self.examples.setdefault(f"{kind}: {what}", example)

    def number(self, kind: str) -> int:
        """Return how often something of a kind was found."""
        return sum(self.found[kind].values())

    def merge(self, other: Tally) -> None:
        """Take another's counts over."""
        self.counts.update(other.counts)
        for kind in KINDS:
            for what, number in other.found[kind].items():
                self.found[kind][what] = self.found[kind].get(what, 0) + number
        self.examples = {**other.examples, **self.examples}

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` takes."""
        return {"counts": dict(self.counts), "found": self.found, "examples": self.examples}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Tally:
        """Return what `to_json` gave."""
        return cls(
            Counter(values["counts"]), {**{kind: {} for kind in KINDS}, **values["found"]}, values["examples"]
        )

    def complaint(self) -> str:
        """Return what was found, for a person; empty where nothing was."""
        lines = []
        for kind in KINDS:
            for what, number in sorted(self.found[kind].items(), key=lambda item: -item[1]):
                example = self.examples.get(f"{kind}: {what}")
                told = example.get("traceback", example) if isinstance(example, dict) else example
                lines.append(f"{number} x {kind}: {what}\n{told}")
        return "\n\n".join(lines)


def fingerprint(error: BaseException) -> str:
    """Return an error's type, the place in the program that it went through last, and where it arose."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "/pixelcam/" in frame.filename and "/cli/" not in frame.filename]
    own = own or [frame for frame in frames if "pixelcam" in frame.filename]
    places = [f"{frame.filename.rpartition('pixelcam/')[2]}:{frame.name}" for frame in own[-1:]]
    if frames and frames[-1:] != own[-1:]:
        places.append("/".join(frames[-1].filename.split("/")[-2:]) + f":{frames[-1].name}")
    return f"{type(error).__name__} in {' < '.join(places)}"
