"""Look over the machine and say, for each thing PixelCAM needs, whether it is there and how to get it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

from pixelcam import system
from pixelcam.errors import PixelCAMError
from pixelcam.folders import user_dir

DISTRIBUTION = "napari-pixelcam"
LEAST_FREE_BYTES = 2 * 1000**3
"""A fine-tuning run keeps a few checkpoints and its events; below this a long one may fill the disk."""

REINSTALL = "run `pip install --upgrade '.[all]'` in the project's folder"

# Qt is asked in a process of its own: a binding that cannot load its libraries may end the process that
# imports it, and nothing in this package may import Qt.
_RUN = "import runpy; runpy.run_module('napari_pixelcam.probes.{}', run_name='__main__')"
QT_PROBE = _RUN.format("qt")
OPENGL_PROBE = _RUN.format("opengl")
QT_PACKAGES = {"PyQt6": "pyqt6-qt6", "PySide6": "pyside6"}
"""By a binding's name, the package whose versions are those of Qt itself."""


@dataclass(frozen=True)
class Finding:
    """What was found about one need.

    Parameters
    ----------
    name
        The need, in a word or two.
    ok
        Whether it is met.
    detail
        What is there, or what is wrong.
    remedy
        How to get what is missing; empty where nothing is.
    """

    name: str
    ok: bool
    detail: str
    remedy: str = ""


def check() -> list[Finding]:
    """Look at everything, in the order in which the needs build on each other; takes a few seconds."""
    return list(iter_check())


def iter_check() -> Iterator[Finding]:
    """Yield the findings of `check` one by one, as they are made."""
    for look in (_python, _packages, _device, _plugin, _system_libraries, _qt, _display, _opengl):
        yield _guarded(look)
    for look in (_user_folder, _disk_space, _starter_model):
        yield _guarded(look)


def _guarded(look: Callable[[], Finding]) -> Finding:
    """Turn a check that itself breaks into a finding: damage is what the doctor is called for."""
    try:
        return look()
    except Exception as error:
        name = look.__name__.strip("_").replace("_", " ")
        return Finding(
            name.capitalize(),
            False,
            f"the check failed: {type(error).__name__}: {error}",
            REINSTALL,
        )


def _python() -> Finding:
    version = f"{platform.python_version()} on {platform.platform(terse=True)}"
    ok = sys.version_info >= (3, 11)
    return Finding("Python", ok, version, "" if ok else "install Python 3.11 or later")


def _requirements(extra: str = "") -> list[Requirement]:
    """Return this distribution's requirements that apply on this machine, with those of an extra."""
    found = []
    for line in importlib.metadata.requires(DISTRIBUTION) or []:
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            found.append(requirement)
    return found


def _packages() -> Finding:
    try:
        own = importlib.metadata.version(DISTRIBUTION)
        requirements = _requirements()
    except importlib.metadata.PackageNotFoundError:
        return Finding("Packages", False, f"{DISTRIBUTION} is not installed here", REINSTALL)
    wrong, versions = [], {}
    for requirement in requirements:
        try:
            versions[requirement.name] = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        if not requirement.specifier.contains(versions[requirement.name], prereleases=True):
            wrong.append(f"{requirement.name} {versions[requirement.name]} is not {requirement.specifier}")
    if wrong:
        return Finding("Packages", False, "; ".join(wrong), REINSTALL)
    shown = [f"{name} {versions[name]}" for name in ("torch", "timm", "napari", "numpy") if name in versions]
    return Finding("Packages", True, ", ".join([f"{DISTRIBUTION} {own}", *shown]))


def _device() -> Finding:
    import torch

    if torch.cuda.is_available():
        cards = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
        shown = [f"cuda:{i} {card.name}, {card.total_memory / 2**30:.0f} GiB" for i, card in enumerate(cards)]
        return Finding("Device", True, "; ".join(shown))
    if torch.backends.mps.is_available():
        return Finding("Device", True, "mps (Apple GPU)")
    cpu = f"cpu, {torch.get_num_threads()} threads"
    if not shutil.which("nvidia-smi"):
        return Finding("Device", True, f"{cpu}; no GPU found")
    built = torch.version.cuda
    if built is None:
        detail = f"{cpu}; an NVIDIA driver is here but this PyTorch is a CPU build"
        return Finding(
            "Device", False, detail, "install PyTorch's CUDA build, as its installation page tells"
        )
    detail = f"{cpu}; PyTorch for CUDA {built} cannot use the NVIDIA driver here"
    remedy = f"install a driver that supports CUDA {built}, or a PyTorch build for the driver at hand"
    return Finding("Device", False, detail, remedy)


def _plugin() -> Finding:
    plugin = importlib.util.find_spec("napari_pixelcam")
    entered = importlib.metadata.entry_points(group="napari.manifest", name=DISTRIBUTION)
    if entered and plugin and plugin.origin and Path(plugin.origin).with_name("napari.yaml").is_file():
        return Finding("Plugin", True, "napari finds the PixelCAM dock")
    return Finding("Plugin", False, "napari does not know the PixelCAM dock", REINSTALL)


def _system_libraries() -> Finding:
    missing = system.missing(system.LIBRARIES)
    if missing:
        names = ", ".join(need.name for need in missing)
        return Finding("System libraries", False, f"missing: {names}", system.how_to_install(missing))
    return Finding("System libraries", True, "all that Qt and OpenGL load are here")


def _qt() -> Finding:
    found = _ask(QT_PROBE, {"QT_QPA_PLATFORM": "offscreen"})
    if isinstance(found, str):
        return Finding("Qt", False, found, f"{REINSTALL}; the command line works without Qt")
    binding, version = found["binding"], found["version"]
    detail = f"{binding}, Qt {version}"
    package = QT_PACKAGES.get(binding, "")
    for requirement in _requirements(binding.lower()) if package else ():
        fits = requirement.specifier.contains(version, prereleases=True)
        if requirement.name.lower() == package and not fits:
            remedy = f"run `pip install '{package}{requirement.specifier}'`"
            return Finding("Qt", False, f"{detail}, which napari does not draw rightly with", remedy)
    return Finding("Qt", True, detail)


def _has_screen() -> bool:
    if not sys.platform.startswith("linux"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _display() -> Finding:
    if _has_screen():
        shown = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or "the desktop"
        return Finding("Display", True, f"windows open on {shown}")
    missing = system.missing(system.SCREENLESS)
    if missing:
        names = ", ".join(need.name for need in missing)
        return Finding("Display", False, f"no screen, and missing: {names}", system.how_to_install(missing))
    return Finding("Display", True, "no screen; the demo and the tests run under Xvfb")


def _opengl() -> Finding:
    if not _has_screen() and shutil.which("Xvfb") is None:
        return Finding("OpenGL", False, "not tried, for want of a display", "see Display")
    with _some_display() as environment:
        found = _ask(OPENGL_PROBE, environment)
    if isinstance(found, str):
        if "QtBindingsNotFoundError" in found:
            return Finding("OpenGL", False, "not tried, for want of a Qt binding", "see Qt")
        remedy = "see Qt and System libraries above, and update the graphics driver"
        return Finding("OpenGL", False, found, remedy)
    return Finding("OpenGL", True, f"{found['version']} by {found['renderer']}")


def _user_folder() -> Finding:
    folder = user_dir()
    remedy = "make it a writable folder, or set PIXELCAM_HOME to one"
    existing = _nearest_existing(folder)
    if not existing.is_dir():
        return Finding("User folder", False, f"{existing} is a file, not a folder", remedy)
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        return Finding("User folder", False, f"cannot write to {folder}: {error.strerror}", remedy)
    return Finding("User folder", True, str(folder))


def _disk_space() -> Finding:
    folder = _nearest_existing(user_dir())
    free = shutil.disk_usage(folder).free
    detail = f"{free / 1000**3:.1f} GB free at {folder}"
    if free < LEAST_FREE_BYTES:
        remedy = "free some space, or set PIXELCAM_HOME to a folder on a larger disk"
        return Finding("Disk space", False, detail, remedy)
    return Finding("Disk space", True, detail)


def _starter_model() -> Finding:
    from pixelcam.model.checkpoint import load_checkpoint
    from pixelcam.model.registry import resolve_model

    try:
        _, card = load_checkpoint(resolve_model("starter"))
    except PixelCAMError as error:
        return Finding("Starter model", False, str(error), REINSTALL)
    return Finding("Starter model", True, f"{card.encoder}, {len(card.classes)} classes")


def _nearest_existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def _ask(program: str, environment: dict[str, str]) -> Any | str:
    """Run `program` in a fresh interpreter; return the JSON it printed last, or one sentence on why not."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
    except subprocess.TimeoutExpired:
        return "it did not answer within a minute"
    if done.returncode < 0:
        return f"it ended with signal {-done.returncode}: {_last_line(done.stderr)}"
    if done.returncode:
        return _last_line(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else "it said nothing"


@contextmanager
def _some_display() -> Iterator[dict[str, str]]:
    """Yield the environment of a display: the screen's own, or a virtual one for as long as it is used."""
    if _has_screen():
        yield {}
        return
    # With -displayfd Xvfb picks a free number itself and writes it once it is ready.
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", "1", "-screen", "0", "640x480x24", "-nolisten", "tcp"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert server.stdout is not None
        number = server.stdout.readline().strip()
        yield {"DISPLAY": f":{number}", "QT_QPA_PLATFORM": "xcb"}
    finally:
        server.terminate()
        server.wait()
        if server.stdout is not None:
            server.stdout.close()
