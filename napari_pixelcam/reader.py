"""Open images and slides as napari layers, with their pixel size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from napari_pixelcam.images import KEY
from pixelcam.errors import ImageError, ProjectError
from pixelcam.review.database import DATABASE

LayerData = tuple[Any, dict[str, Any], str]


def get_reader(path: str | Sequence[str]) -> Callable[[str | Sequence[str]], list[LayerData]] | None:
    """Return the reader where the path is one or more files, or one folder, else `None`."""
    paths = [path] if isinstance(path, str) else list(path)
    if len(paths) == 1 and Path(paths[0]).is_dir():
        return read_project if (Path(paths[0]) / DATABASE).is_file() else read_as_napari
    return read_slides if paths and all(Path(one).is_file() for one in paths) else None


def read_project(path: str | Sequence[str]) -> list[Any]:
    """Open a project in the dock of the viewer that its folder was given to.

    Returns
    -------
    list
        napari's word for no layers: the dock adds them.
    """
    import napari

    from napari_pixelcam.workbench import show_project

    viewer = napari.current_viewer()
    if viewer is None:
        raise ProjectError("A project is opened in a napari window: drag its folder there.")
    show_project(viewer, path if isinstance(path, str) else path[0])
    return [(None,)]


def read_as_napari(path: str | Sequence[str]) -> list[LayerData]:
    """Open what is nothing of ours, such as a folder that is no project, as napari's own reader does."""
    import npe2

    paths = [path] if isinstance(path, str) else list(path)
    return npe2.read(paths, stack=False, plugin_name="napari")


def read_slides(path: str | Sequence[str]) -> list[LayerData]:
    """Open files as image layers.

    Returns
    -------
    list of layer data
        One RGB image layer a file, multiscale where the file is a pyramid; in micrometres where the file
        gives a pixel size, in pixels where it does not.

    Raises
    ------
    ImageError
        A file is no image that can be read; its message says what is wrong with it.
    """
    from pixelcam.slides import open_slide

    paths = [path] if isinstance(path, str) else list(path)
    found = list[LayerData]()
    for one in paths:
        try:
            found.append(layer_of(open_slide(one)))
        except ImageError:
            if not _is_measured(Path(one)):
                raise
            found += read_as_napari(one)
    return found


def _is_measured(path: Path) -> bool:
    """Return whether a TIFF holds a stack or decimal values: no picture of a slide, but napari shows it."""
    import tifffile

    try:
        with tifffile.TiffFile(path, _multifile=False) as file:
            first = file.series[0]
            planes = any(
                side > 1 for side, axis in zip(first.shape, first.axes, strict=True) if axis not in "YXS"
            )
            return planes or first.dtype.kind == "f"
    except Exception:  # many kinds: no TIFF, or a damaged one, of which the opening tells
        return False


def layer_of(slide: Any) -> LayerData:
    """Return the layer data of a slide; the slide goes along, so that it is not opened twice."""
    options: dict[str, Any] = {"name": slide.name, "rgb": True, "metadata": {KEY: {"slide": slide}}}
    if slide.mpp is not None:
        options |= {"scale": (slide.mpp, slide.mpp), "units": ("um", "um")}
    levels = list(slide.levels)
    if len(levels) > 1:
        return levels, options | {"multiscale": True}, "image"
    return levels[0], options | {"multiscale": False}, "image"
