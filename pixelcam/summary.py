"""Put the figures of several folds and seeds into one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """Mean and spread of a figure.

    Parameters
    ----------
    mean
        Of the runs.
    deviation
        Sample standard deviation (n - 1 in the denominator); None of one run, which has no spread to tell.
    n
        Number of runs that have the figure.
    """

    mean: float
    deviation: float | None
    n: int

    def __str__(self) -> str:
        spread = "" if self.deviation is None else f" ± {self.deviation:.1f}"
        return f"{self.mean:.1f}{spread} (n = {self.n})"


def summarise(runs: Iterable[Mapping[str, float | None]]) -> dict[str, Spread]:
    """Return mean and spread of each figure over folds and seeds.

    Parameters
    ----------
    runs
        The figures of each run by name, as `EvaluationResult.to_json` gives them. A figure that a run lacks,
        or that is None or NaN there, counts for the others alone, and `Spread.n` tells how many these are.

    Returns
    -------
    dict
        In the order in which the figures first come; without those that no run has.
    """
    values: dict[str, list[float]] = {}
    for run in runs:
        for name, value in run.items():
            if value is not None and not math.isnan(value):
                values.setdefault(name, []).append(float(value))
    return {name: _spread(found) for name, found in values.items()}


def _spread(values: list[float]) -> Spread:
    n = len(values)
    mean = math.fsum(values) / n
    if n == 1:
        return Spread(mean, None, 1)
    return Spread(mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1)), n)
