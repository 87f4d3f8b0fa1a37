"""What leaves the program, and the way back in: maps, regions, seeds, each written whole or not at all."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from pixelcam.export.atomic import atomic_path, atomic_paths, write_bytes, write_text

if TYPE_CHECKING:
    from pixelcam.export.areas import FOREGROUND_COLOUR
    from pixelcam.export.formats import RESULT_FORMATS, SEED_FORMATS, export_result, export_seeds
    from pixelcam.export.geojson import geojson_to_mask, write_geojson
    from pixelcam.export.importing import read_labels
    from pixelcam.export.maps import write_foreground, write_map_png
    from pixelcam.export.regions import Polygon, foreground_regions
    from pixelcam.export.results import export_localization, safe_stem, summarize, write_summary
    from pixelcam.export.seeds import SeedRecord, read_seeds, write_seeds
    from pixelcam.export.sidecar import SeedCounts, SeedImage, SeedSidecar

__all__ = [
    "FOREGROUND_COLOUR",
    "RESULT_FORMATS",
    "SEED_FORMATS",
    "Polygon",
    "SeedCounts",
    "SeedImage",
    "SeedRecord",
    "SeedSidecar",
    "atomic_path",
    "atomic_paths",
    "export_localization",
    "export_result",
    "export_seeds",
    "foreground_regions",
    "geojson_to_mask",
    "read_labels",
    "read_seeds",
    "safe_stem",
    "summarize",
    "write_bytes",
    "write_foreground",
    "write_geojson",
    "write_map_png",
    "write_seeds",
    "write_summary",
    "write_text",
]

_HOMES = {
    "areas": ("FOREGROUND_COLOUR",),
    "formats": ("RESULT_FORMATS", "SEED_FORMATS", "export_result", "export_seeds"),
    "geojson": ("geojson_to_mask", "write_geojson"),
    "importing": ("read_labels",),
    "maps": ("write_foreground", "write_map_png"),
    "regions": ("Polygon", "foreground_regions"),
    "results": ("export_localization", "safe_stem", "summarize", "write_summary"),
    "seeds": ("SeedRecord", "read_seeds", "write_seeds"),
    "sidecar": ("SeedCounts", "SeedImage", "SeedSidecar"),
}


def __getattr__(name: str) -> object:
    """Import the writers only when they are asked for: jobs need `write_text` alone, and at once."""
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
