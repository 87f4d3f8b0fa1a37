"""What a seeds file must carry along: which image, which model, who, when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixelcam.errors import SeedsError
from pixelcam.export.marks import document_text
from pixelcam.limits import parse_own_json

if TYPE_CHECKING:
    from pixelcam.localize import ModelRef
    from pixelcam.slides import Slide

VERSION = 1
LABELS: Mapping[str, str] = {"0": "unlabelled", "1": "background", "2": "foreground"}


@dataclass(frozen=True)
class SeedImage:
    """The image that seeds were painted on.

    Parameters
    ----------
    name
        Its stem.
    path, relative_path
        Where it was, and where that is from the sidecar's folder, with forward slashes; "" where it has no
        file.
    fingerprint
        SHA-256 of the file's bytes, in hex.
    width, height
        In level-0 pixels.
    mpp
        Micrometres per level-0 pixel, or None.
    pixels
        SHA-256 of shape and pixels where the image came from memory and was written beside the seeds, else
        "".
    """

    name: str
    path: str
    relative_path: str
    fingerprint: str
    width: int
    height: int
    mpp: float | None = None
    pixels: str = ""

    @classmethod
    def of(cls, slide: Slide) -> SeedImage:
        """Describe a slide; `write_seeds` adds the relative path."""
        path = "" if slide.path is None else str(Path(slide.path).absolute())
        return cls(slide.name, path, "", slide.fingerprint, slide.width, slide.height, slide.mpp)


@dataclass(frozen=True)
class SeedCounts:
    """How many pixels a reviewer labelled."""

    foreground: int = 0
    background: int = 0


@dataclass(frozen=True)
class SeedSidecar:
    """The JSON beside a seeds file.

    Parameters
    ----------
    image
        The image.
    level, scale, translate
        The level that the seeds were painted at, level-0 pixels per seed pixel, and the centre of seed pixel
        (0, 0) in level-0 pixels, both as (y, x).
    model, threshold, predicted
        What the reviewer looked at: the model, the threshold, and the predicted class; None where nothing
        was shown.
    corrected_label
        The class that the reviewer says the image has, or None where the reviewer said nothing.
    reviewer
        Who painted.
    source, source_sha256
        The file that the seeds were imported from, and its digest; "" where they were painted here.
    started, saved
        ISO 8601 times of the first stroke and of the saving.
    counts, file
        Labelled pixels, and the name of the seeds file; `write_seeds` fills both in.
    """

    image: SeedImage
    level: int = 0
    scale: tuple[float, float] = (1.0, 1.0)
    translate: tuple[float, float] = (0.0, 0.0)
    model: ModelRef | None = None
    threshold: float | None = None
    predicted: str | None = None
    corrected_label: str | None = None
    reviewer: str = ""
    source: str = ""
    source_sha256: str = ""
    started: str = ""
    saved: str = ""
    counts: SeedCounts = field(default_factory=SeedCounts)
    file: str = ""

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) that the seeds must have."""
        return (
            max(1, round(self.image.height / self.scale[0])),
            max(1, round(self.image.width / self.scale[1])),
        )

    def to_json(self) -> str:
        """Return the sidecar as JSON text."""
        model = None if self.model is None else self.model.to_json()
        values = {"version": VERSION, "labels": dict(LABELS), **asdict(self), "model": model}
        return document_text(values, indent=2)

    @classmethod
    def from_json(cls, text: str, subject: str) -> SeedSidecar:
        """Read a sidecar back.

        Parameters
        ----------
        text
            What `to_json` gave.
        subject
            The file, for messages.

        Raises
        ------
        SeedsError
            The text is no sidecar, lacks something, or is of a newer version.
        """
        broken = SeedsError(f"{subject} is damaged or no seeds sidecar; export these seeds again.")
        try:
            values = parse_own_json(text)
            version = int(values["version"])
        except (ValueError, TypeError, KeyError) as error:
            raise broken from error
        if version > VERSION:
            raise SeedsError(
                f"{subject} was written by a newer version of napari-pixelcam; update this one to read it."
            )
        try:
            return cls._from_values(values)
        except (ValueError, TypeError, KeyError, AttributeError, ZeroDivisionError) as error:
            raise broken from error

    @classmethod
    def _from_values(cls, values: dict[str, Any]) -> SeedSidecar:
        if values["labels"] != LABELS:
            raise ValueError("labels of another meaning")
        image = _known(SeedImage, values["image"])
        if image["width"] < 1 or image["height"] < 1 or not image["fingerprint"]:
            raise ValueError("no image")
        known = _known(cls, values)
        for name in ("scale", "translate"):
            y, x = known.get(name, getattr(cls, name))
            known[name] = (float(y), float(x))
        if min(known["scale"]) < 1e-3:
            raise ValueError("no scale")
        if known.get("model") is not None:
            # Only here, because it loads torch, which whoever writes seeds in a window must not wait for.
            from pixelcam.localize import ModelRef

            known["model"] = ModelRef(**_known(ModelRef, known["model"]))
        known["counts"] = SeedCounts(**_known(SeedCounts, values["counts"]))
        known["file"] = str(values["file"])
        return cls(**known | {"image": SeedImage(**image)})


_KINDS: Mapping[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "str": (str,),
    "float | None": (int, float, type(None)),
    "str | None": (str, type(None)),
}


def _known(kind: type[Any], values: dict[str, Any]) -> dict[str, Any]:
    """Leave out what a later writer of the same version added; refuse values of another kind."""
    known = {name: value for name, value in values.items() if name in kind.__dataclass_fields__}
    for name, value in known.items():
        wanted = _KINDS.get(str(kind.__dataclass_fields__[name].type))
        if wanted is not None and (isinstance(value, bool) or not isinstance(value, wanted)):
            raise TypeError(f"{name} of another kind")
    return known
