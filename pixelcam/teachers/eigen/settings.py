"""How eigen maps are made."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EigenSettings:
    """How eigen maps are made.

    Attributes
    ----------
    level
        Encoder level whose leading component is taken.
    sides
        Sizes in pixels that images are resized to for it, small enough for one object to fill the receptive
        field; the maps are averaged.
    refit_levels, refit_sides
        Levels and sizes whose features together the linear classifier sees.
    rounds
        Times that it is fitted; 0 leaves the component as it is.
    decay
        Ridge penalty, relative to features of unit variance.
    certain
        Standard deviations from neutral past which a cell is a label of the fit.
    by_label
        Take the images of each label by themselves, where there are enough of them.
    class_weight
        Of the class maps beside the component.
    grid
        Cells along a side of the maps.
    """

    level: int
    sides: tuple[int, ...]
    refit_levels: tuple[int, ...]
    refit_sides: tuple[int, ...]
    rounds: int = 3
    decay: float = 3.0
    certain: float = 1.0
    by_label: bool = True
    class_weight: float = 0.2
    grid: int = 28
