"""Which fold of a data set a model is measured on: its own, unless the command line names another."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pixelcam.model import ModelCard


class Division(NamedTuple):
    """One way of dividing a data set into training, validation and test images."""

    fold: int = 0
    scheme: str = "official"

    def __str__(self) -> str:
        return f"fold {self.fold} of the {self.scheme} split"


def trained_on(card: ModelCard, dataset: str) -> Division | None:
    """Return the division of a data set that a model was trained on; None if it was trained on another."""
    if card.training.get("dataset") != dataset:
        return None
    own = {key: card.training[key] for key in Division._fields if card.training.get(key) is not None}
    return Division(**own)


def choose_division(card: ModelCard, dataset: str, fold: int | None, scheme: str | None) -> Division:
    """Return the division that is meant: what is not named is the model's own, as far as the rest is too."""
    own = trained_on(card, dataset) or Division()
    if scheme is not None and scheme != own.scheme:
        own = Division(scheme=scheme)
    return own if fold is None else own._replace(fold=fold)


def caution_of(card: ModelCard, dataset: str, division: Division) -> str:
    """Return a warning where a model was trained on another division of this data set; else nothing."""
    own = trained_on(card, dataset)
    if own is None or own == division:
        return ""
    return (
        f"{card.name} was trained on {own}: it may have seen images of {division}, which are easier for it "
        "then."
    )
