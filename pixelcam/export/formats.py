"""Every format that results and seeds leave in, by the name that people choose it by."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pixelcam.errors import ConfigError
from pixelcam.export.areas import about_map, areas_of_map, areas_of_seeds
from pixelcam.export.arrays import write_map_npz, write_mask_png
from pixelcam.export.coco import write_coco
from pixelcam.export.dicom import write_dicom_areas, write_dicom_map
from pixelcam.export.geojson import write_geojson, write_seed_geojson
from pixelcam.export.histomics import write_histomics
from pixelcam.export.maps import write_foreground, write_map_png
from pixelcam.export.marks import replace_text
from pixelcam.export.naming import Places, result_places, seed_mark, seed_stem
from pixelcam.export.ngff import write_map_zarr, write_seeds_zarr
from pixelcam.export.results import write_summary
from pixelcam.export.seeds import FORMATS, complete_sidecar, write_seeds

if TYPE_CHECKING:
    from pixelcam.export.sidecar import SeedSidecar
    from pixelcam.localize import Localization

_ResultWriter = Callable[[Path, "Localization", float], object]
_SeedWriter = Callable[[Path, NDArray[np.uint8], "SeedSidecar"], object]


def _write_sidecar(path: Path, labels: NDArray[np.uint8], sidecar: SeedSidecar) -> Path:
    return replace_text(path, sidecar.to_json(), seed_mark(sidecar))


RESULT_WRITERS: Mapping[str, tuple[tuple[str, _ResultWriter], ...]] = {
    "geojson": ((".geojson", write_geojson),),
    "histomics": ((".histomics.json", lambda path, found, t: write_histomics(path, areas_of_map(found, t))),),
    "coco": ((".coco.json", lambda path, found, t: write_coco(path, areas_of_map(found, t))),),
    "mask": ((".mask.png", write_mask_png),),
    "png": ((".fg.png", lambda path, found, t: write_map_png(path, found)),),
    "npz": ((".fg.npz", lambda path, found, t: write_map_npz(path, found)),),
    "ome-tiff": ((".fg.ome.tif", lambda path, found, t: write_foreground(path, found)),),
    "ome-zarr": ((".fg.ome.zarr", lambda path, found, t: write_map_zarr(path, found)),),
    "dicom-seg": (
        (".fg.dcm", lambda path, found, t: write_dicom_map(path, found)),
        (".regions.dcm", lambda path, found, t: write_dicom_areas(path, areas_of_map(found, t))),
    ),
}
"""The endings of the files that a format of results has, and what writes each at a threshold."""

SEED_WRITERS: Mapping[str, tuple[tuple[str, _SeedWriter], ...]] = {
    "geojson": ((".geojson", lambda path, *seeds: write_seed_geojson(path, areas_of_seeds(*seeds))),),
    "histomics": ((".histomics.json", lambda path, *seeds: write_histomics(path, areas_of_seeds(*seeds))),),
    "coco": ((".coco.json", lambda path, *seeds: write_coco(path, areas_of_seeds(*seeds))),),
    "ome-zarr": ((".ome.zarr", write_seeds_zarr),),
    "dicom-seg": (
        (".dcm", lambda path, *seeds: write_dicom_areas(path, areas_of_seeds(*seeds))),
        # The other formats have room for the sidecar within.
        (".dcm.json", _write_sidecar),
    ),
}
"""The same of seeds, whose endings follow ``.seeds``; beside the arrays that `write_seeds` knows."""

SEED_FORMATS = (*FORMATS, *SEED_WRITERS)
RESULT_FORMATS = tuple(RESULT_WRITERS)


def export_result(
    folder: str | Path,
    localization: Localization,
    formats: Iterable[str],
    threshold: float | None = None,
    stem: str | None = None,
    places: Places | None = None,
    of: object = None,
    summary: bool = False,
) -> list[Path]:
    """Write a localization in some formats.

    Results of the same image are replaced. Where files of another image, or somebody's own, have its name, a
    part of its fingerprint is added to the stem.

    Parameters
    ----------
    folder
        Made where it is missing.
    localization
        The result.
    formats
        Of `RESULT_FORMATS`.
    threshold
        Between 0 and 1, for formats of regions; the model's own where None.
    stem
        What file names begin with where that is free; the image's name where None.
    places, of
        Names that were given before, where many images are exported, and what tells this image from a copy
        among them.

    summary
        Whether the summary, ``<stem>.json``, goes along.

    Returns
    -------
    list[Path]
        The files, in the order of the formats, the summary last.

    Raises
    ------
    ConfigError
        A format is unknown or lacks what it needs.
    OutputError
        A file cannot be written.
    """
    chosen = localization.threshold if threshold is None else threshold
    formats = list(formats)
    for name in formats:
        if name not in RESULT_WRITERS:
            raise ConfigError(f"Results cannot be written as {name}; choose {_listed(RESULT_FORMATS)}.")
    endings = [ending for name in formats for ending, _ in RESULT_WRITERS[name]]
    endings += [".json"] if summary else []
    candidates = result_places(localization, stem)
    stem = (places or Places()).stem(Path(folder), candidates, endings, about_map(localization, chosen), of)
    written = []
    for name in formats:
        for ending, write in RESULT_WRITERS[name]:
            path = Path(folder) / f"{stem}{ending}"
            write(path, localization, chosen)
            written.append(path)
    if summary:
        path = Path(folder) / f"{stem}.json"
        written.append(write_summary(path, localization, f"{stem}.fg.ome.tif", chosen))
    return written


def export_seeds(
    folder: str | Path,
    labels: NDArray[np.uint8],
    sidecar: SeedSidecar,
    formats: Iterable[str],
    image: NDArray[np.uint8] | None = None,
    stem: str | None = None,
    places: Places | None = None,
) -> list[Path]:
    """Write one image's seeds in some formats, each with all that the sidecar says.

    "png" and "npz" have the sidecar beside them, see `write_seeds`, which explains the parameters too. The
    other formats carry it within. A stem is taken where it is free. `places` are names that were given
    before, where seeds of many images are exported.

    Raises
    ------
    ConfigError
        A format is unknown or lacks what it needs.
    SeedsError, OutputError
        As `write_seeds`.
    """
    folder, formats = Path(folder), list(formats)
    for name in formats:
        if name not in SEED_FORMATS:
            raise ConfigError(f"Seeds cannot be written as {name}; choose {_listed(SEED_FORMATS)}.")
    arrays = [name for name in formats if name in FORMATS]
    endings = [f".seeds.{name}" for name in ("json", *arrays)] if arrays else []
    endings += [f".seeds{ending}" for name in formats for ending, _ in SEED_WRITERS.get(name, ())]
    endings += [] if image is None else [".image.png"]
    stem = seed_stem(folder, sidecar, endings, places, stem)
    written = write_seeds(folder, labels, sidecar, arrays, image, stem) if arrays else []
    described = complete_sidecar(sidecar, labels)
    for name in formats:
        for ending, write in SEED_WRITERS.get(name, ()):
            path = folder / f"{stem}.seeds{ending}"
            write(path, labels, described)
            written.append(path)
    return written


def _listed(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} or {last}"
