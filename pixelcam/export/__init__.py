"""What leaves the program, and the way back in: maps, regions, seeds, each written whole or not at all."""

from pixelcam.export.atomic import atomic_path, atomic_paths, write_bytes, write_text
from pixelcam.export.geojson import FOREGROUND_COLOUR, geojson_to_mask, write_geojson
from pixelcam.export.maps import write_foreground, write_map_png
from pixelcam.export.regions import Polygon, foreground_regions
from pixelcam.export.results import export_localization, safe_stem, summarize, write_summary
from pixelcam.export.seeds import SeedRecord, read_seeds, write_seeds
from pixelcam.export.sidecar import SeedCounts, SeedImage, SeedSidecar

__all__ = [
    "FOREGROUND_COLOUR",
    "Polygon",
    "SeedCounts",
    "SeedImage",
    "SeedRecord",
    "SeedSidecar",
    "atomic_path",
    "atomic_paths",
    "export_localization",
    "foreground_regions",
    "geojson_to_mask",
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
