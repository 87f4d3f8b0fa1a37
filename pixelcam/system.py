"""The system libraries that a napari window needs on Linux, and how to get the ones that are missing.

Standard library only: `tools/system_check.py` runs this file before anything is installed.
"""

from __future__ import annotations

import ctypes
import glob
import os
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class SystemNeed:
    """One thing that the operating system must bring.

    Parameters
    ----------
    name
        What a person can look for: a library's file name or a program.
    package
        The Debian and Ubuntu package that holds it.
    present
        Whether it is at hand on this machine.
    """

    name: str
    package: str
    present: Callable[[], bool]


def _library(name: str, package: str) -> SystemNeed:
    def present() -> bool:
        try:
            ctypes.CDLL(name)
        except OSError:
            return False
        return True

    return SystemNeed(name, package, present)


def _file(name: str, package: str, *patterns: str) -> SystemNeed:
    return SystemNeed(name, package, lambda: any(glob.glob(pattern, recursive=True) for pattern in patterns))  # noqa: PTH207


LIBRARIES = (
    _library("libGL.so.1", "libgl1"),
    _library("libEGL.so.1", "libegl1"),
    _library("libOpenGL.so.0", "libopengl0"),
    _library("libX11-xcb.so.1", "libx11-xcb1"),
    _library("libdbus-1.so.3", "libdbus-1-3"),
    _library("libfontconfig.so.1", "libfontconfig1"),
    _library("libglib-2.0.so.0", "libglib2.0-0"),
    _library("libxkbcommon-x11.so.0", "libxkbcommon-x11-0"),
    _library("libxcb-cursor.so.0", "libxcb-cursor0"),
    _library("libxcb-icccm.so.4", "libxcb-icccm4"),
    _library("libxcb-image.so.0", "libxcb-image0"),
    _library("libxcb-keysyms.so.1", "libxcb-keysyms1"),
    _library("libxcb-randr.so.0", "libxcb-randr0"),
    _library("libxcb-render-util.so.0", "libxcb-render-util0"),
    _library("libxcb-shape.so.0", "libxcb-shape0"),
    _library("libxcb-xinerama.so.0", "libxcb-xinerama0"),
    _library("libxcb-xkb.so.1", "libxcb-xkb1"),
)
"""What Qt's xcb platform and napari's OpenGL canvas load."""

SCREENLESS = (
    SystemNeed("Xvfb", "xvfb", lambda: shutil.which("Xvfb") is not None),
    _file("Mesa's software OpenGL", "libgl1-mesa-dri", "/usr/lib*/dri/*_dri.so", "/usr/lib/*/dri/*_dri.so"),
    _file("a TrueType font", "fonts-dejavu-core", "/usr/share/fonts/**/*.ttf", "/usr/share/fonts/**/*.otf"),
)
"""What a window needs besides, on a machine without a screen."""


def missing(needs: Iterable[SystemNeed] = (*LIBRARIES, *SCREENLESS)) -> list[SystemNeed]:
    """Return the needs that are not met here; none anywhere but on Linux, where the system brings its own."""
    if not sys.platform.startswith("linux"):
        return []
    return [need for need in needs if not need.present()]


def how_to_install(needs: Iterable[SystemNeed]) -> str:
    """Return one sentence that tells a person how to get `needs`."""
    packages = " ".join(sorted({need.package for need in needs}))
    if shutil.which("apt-get"):
        sudo = "" if hasattr(os, "geteuid") and os.geteuid() == 0 else "sudo "
        return f"run `{sudo}apt-get update && {sudo}apt-get install {packages}`"
    return f"install what this system calls the Debian packages {packages}"
