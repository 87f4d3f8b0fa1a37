"""Annotations and label images from elsewhere, as seeds on an image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelcam.errors import ImageError, SeedsError
from pixelcam.events import Event
from pixelcam.export.annotations import Annotation, is_annotation_file, read_annotations
from pixelcam.export.areas import grid_ring
from pixelcam.export.filling import fill_polygon, filling_work
from pixelcam.export.ngff import MARKER, read_label_zarr
from pixelcam.limits import check_memory, read_npz
from pixelcam.seeds import BACKGROUND, FOREGROUND, UNLABELLED
from pixelcam.seeds.grid import SeedGrid, seed_grid
from pixelcam.slides import Slide
from pixelcam.slides.labels import read_label_image

KINDS: Mapping[str, int] = {"foreground": FOREGROUND, "background": BACKGROUND, "ignore": UNLABELLED}
"""What a class or a value can mean."""

_OWN_VALUES = {UNLABELLED: UNLABELLED, BACKGROUND: BACKGROUND, FOREGROUND: FOREGROUND}
_MOST_NAMED = 5
_MOST_WORK = 2e9
"""Pixels that outlines may fill, and cross, beside a few times the whole image: some seconds."""
_MOST_VALUES = 65_536
_BAND = 1_000_000  # pixels that are looked at together
_FREE = "close other programs, or give a smaller image"
_SMALLER = "export the labels at the size of a coarser level of the image"


def read_labels(
    path: str | Path,
    slide: Slide,
    meanings: Mapping[str, str] | None = None,
    on_event: Callable[[Event], None] = lambda event: None,
) -> NDArray[np.uint8]:
    """Read annotations or a label image as seeds of an image.

    What kind of file it is, is told by its content:

    - GeoJSON as QuPath writes it, also compressed, or the annotation JSON of HistomicsUI. A seed pixel takes
      the class of the polygon that holds its centre; where several do, of the one that comes last in the
      file. Polygons that cross themselves are filled by the even-odd rule, and a warning names each. Points,
      lines and other shapes that are no areas are passed over with a warning.
    - A label image: PNG or TIFF of one channel, NPZ with the array ``labels``, or an OME-Zarr label image. It
      must have the size of one of the image's levels, to the pixel; where that is not the level that seeds
      are kept at, each seed pixel takes the label nearest to its centre.

    Parameters
    ----------
    path
        The file, or the folder of an OME-Zarr image.
    slide
        The image that it belongs to.
    meanings
        What each class (by name) or value (as text) means: "foreground", "background" or "ignore". What is
        not named is left unlabelled. Where None, classes must be called "foreground" or "background" and
        values be 0 (unlabelled), 1 (background) and 2 (foreground).
    on_event
        Receives the warnings.

    Returns
    -------
    NDArray[uint8]
        The labels 0, 1, 2, of the shape of the image's seed grid (see `seed_grid`).

    Raises
    ------
    SeedsError
        The file cannot be read; it has another size than any level of the image; it was made on another
        image; it labels no pixel of it; or its classes or values say nothing without `meanings`.
    """
    path = Path(path)
    grid = seed_grid(_sizes(slide))
    if is_annotation_file(path):
        labels = _from_annotations(path, slide, grid, meanings, on_event)
    else:
        values, fingerprint = _load(path)
        _refuse_other_image(path, slide, fingerprint)
        labels = _onto_grid(path, _by_meaning(path, values, meanings), slide, grid)
    if not labels.any():
        raise SeedsError(f"{path} labels no pixel of {slide.name}; check that it belongs to that image.")
    return labels


def _sizes(slide: Slide) -> list[tuple[int, int]]:
    return [(level.shape[0], level.shape[1]) for level in slide.levels]


def _from_annotations(
    path: Path,
    slide: Slide,
    grid: SeedGrid,
    meanings: Mapping[str, str] | None,
    on_event: Callable[[Event], None],
) -> NDArray[np.uint8]:
    found = read_annotations(path)
    _refuse_other_image(path, slide, found.fingerprint)
    areas = [one for one in found.annotations if one.polygons]
    if len(areas) < len(found.annotations):
        forms = Counter(one.form for one in found.annotations if not one.polygons)
        listed = ", ".join(f"{count} {form}" for form, count in forms.most_common())
        what = f"{forms.total()} points, lines or other shapes are no areas ({listed})"
        if not areas:
            raise SeedsError(f"{path} holds nothing to fill: its {what}; draw areas.")
        on_event(_warning(f"{path.name}: {what}; left out."))
    by_name = _lookup(meanings) or {"foreground": FOREGROUND, "background": BACKGROUND}
    kinds = dict.fromkeys(one.kind for one in areas)
    unknown = [kind for kind in kinds if kind.casefold() not in by_name]
    if unknown and (meanings is None or len(unknown) == len(kinds)):
        raise SeedsError(
            f"{path} has the classes {_listed(kind or 'unclassified' for kind in kinds)}; "
            f'say what each means, for example --map "{unknown[0] or "unclassified"}=foreground".'
        )
    _refuse_too_much(path, areas, slide, grid)
    labels = np.zeros(grid.shape, np.uint8)
    for area in areas:
        if (value := by_name.get(area.kind.casefold())) is not None and _paint(labels, area, grid, value):
            on_event(
                _warning(f"{path.name}: {area.title} crosses itself; it is filled by the even-odd rule.")
            )
    return labels


def _refuse_too_much(path: Path, areas: list[Annotation], slide: Slide, grid: SeedGrid) -> None:
    """Refuse areas that would take too long to fill, or more memory than there is."""
    pixels = grid.shape[0] * grid.shape[1]
    check_memory(10 * pixels, f"{slide.name} has {pixels} pixels to paint on", _FREE, SeedsError)
    work = sum(
        filling_work([grid_ring(ring, grid) for ring in polygon], grid.shape)
        for area in areas
        for polygon in area.polygons
    )
    if work > _MOST_WORK + 10 * pixels:
        raise SeedsError(
            f"The outlines of {path} are too many or too winding to be filled; simplify them in the program "
            "that drew them, or export fewer at a time."
        )


def _paint(labels: NDArray[np.uint8], area: Annotation, grid: SeedGrid, value: int) -> bool:
    """Fill an annotation, in place; return whether it crosses itself."""
    crosses = False
    for polygon in area.polygons:
        filled = fill_polygon([grid_ring(ring, grid) for ring in polygon], grid.shape)
        labels[filled.window][filled.mask] = value
        crosses |= filled.crosses_itself
    return crosses


def _warning(message: str) -> Event:
    return Event("warning", "import", message=message)


def _refuse_other_image(path: Path, slide: Slide, fingerprint: str) -> None:
    if fingerprint and fingerprint != slide.fingerprint:
        raise SeedsError(
            f"{path} was made on another image than {slide.name} (their contents differ); "
            "give the image that it belongs to."
        )


def _lookup(meanings: Mapping[str, str] | None) -> dict[str, int]:
    """Return classes and values, case aside, as labels; "unclassified" is what has no class."""
    found = {}
    for name, meaning in (meanings or {}).items():
        if meaning not in KINDS:
            raise SeedsError(f"{name} cannot mean {meaning!r}; choose {_listed(KINDS, 'or')}.")
        found["" if name.casefold() == "unclassified" else name.casefold()] = KINDS[meaning]
    return found


def _load(path: Path) -> tuple[NDArray[Any], str]:
    """Return a label image (h, w) of integers, and the fingerprint that it carries or ""."""
    if path.is_dir() and ((path / MARKER).is_file() or (path / "zarr.json").is_file()):
        values, fingerprint = read_label_zarr(path)
    else:
        values, fingerprint = _load_file(path), ""
    if values.ndim != 2:
        raise SeedsError(
            f"{path} is no label image: it has {values.shape[-1]} channels instead of one; "
            "export the labels as gray values."
        )
    if values.dtype.kind not in "uib":
        raise SeedsError(
            f"{path} is no label image: its pixels are fractions; export the labels as integers."
        )
    return values, fingerprint


def _load_file(path: Path) -> NDArray[Any]:
    if path.suffix.lower() == ".npz":
        return _load_arrays(path)
    try:
        found = read_label_image(path)
    except ImageError as error:
        raise SeedsError(str(error)) from error
    if found.lossy:
        raise SeedsError(f"{path} is stored in a way that blurs labels; save them as a PNG or TIFF.")
    return found.values


def _load_arrays(path: Path) -> NDArray[Any]:
    try:
        return read_npz(path, "labels", SeedsError, _SMALLER)
    except SeedsError:
        raise
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SeedsError(f"{path} cannot be read: {reason}; check the path.") from error
    except Exception as error:  # whatever numpy and zlib stumble over
        raise SeedsError(f"{path} is damaged or no label image; export the labels again.") from error


def _by_meaning(path: Path, values: NDArray[Any], meanings: Mapping[str, str] | None) -> NDArray[np.uint8]:
    present = _present(path, values)
    by_text = _lookup(meanings)
    known: Mapping[int, int] = _OWN_VALUES
    if meanings is not None:
        known = {value: by_text[str(value)] for value in present if str(value) in by_text}
    one_bit = values.dtype.kind == "b" and meanings is None
    if one_bit or (meanings is None and not set(present) <= set(known)) or not known:
        example = max(present)
        raise SeedsError(
            f"{path} has the values {_listed(map(str, present))}; say what they mean, "
            f"for example --map {example}=foreground --map {min(present)}=background."
        )
    labels = np.zeros(values.shape, np.uint8)
    for rows in _bands(values):
        for value, label in known.items():
            labels[rows][values[rows] == value] = label
    return labels


def _present(path: Path, values: NDArray[Any]) -> list[int]:
    """Return the values that an image (h, w) has, in order."""
    found: set[int] = set()
    for rows in _bands(values):
        some = np.unique(values[rows])
        if len(some) <= _MOST_VALUES:
            found.update(some.tolist())
        if max(len(some), len(found)) > _MOST_VALUES:
            raise SeedsError(
                f"{path} has more than {_MOST_VALUES} different values, so that nobody can say what each "
                "means; export the labels by class."
            )
    return sorted(map(int, found))


def _bands(values: NDArray[Any]) -> Iterator[slice]:
    """Yield some rows of an image (h, w) at a time: copies of a whole one would fill the memory."""
    rows = max(1, _BAND // max(1, values.shape[1]))
    return (slice(top, top + rows) for top in range(0, values.shape[0], rows))


def _listed(names: Iterable[str], last: str = "and") -> str:
    """Return names as a list in a sentence; only the first ones of many."""
    *first, end = [*names]
    if len(first) >= _MOST_NAMED:
        return f"{', '.join(first[:_MOST_NAMED])} {last} {len(first) + 1 - _MOST_NAMED} more"
    return f"{', '.join(first)} {last} {end}" if first else str(end)


def _onto_grid(path: Path, labels: NDArray[np.uint8], slide: Slide, grid: SeedGrid) -> NDArray[np.uint8]:
    if labels.shape == grid.shape:
        return labels
    sizes = _sizes(slide)
    if labels.shape not in sizes:
        raise SeedsError(
            f"{path} has {_size(labels.shape)} pixels, but {slide.name} has "
            f"{_listed(map(_size, sizes), 'or')}; export the labels at one of these sizes."
        )
    rows, columns = (
        # The pixel whose square holds the centre of a seed pixel.
        np.minimum(((np.arange(wanted) + 0.5) * there / wanted).astype(int), there - 1)
        for wanted, there in zip(grid.shape, labels.shape, strict=True)
    )
    return np.asarray(labels[np.ix_(rows, columns)])


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]}"
