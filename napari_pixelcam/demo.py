"""The whole loop on a real image in a real window: for a person, or by itself where there is no screen."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from pixelcam.errors import PixelCAMError

SIZE = (1440, 900)
HOME = "home"
"""Folder within the demo's own for models, runs and seeds, so that the user's are left alone."""
_NO_XVFB = (
    "There is no screen here and no Xvfb to stand in for one; install it (Debian: apt-get install xvfb "
    "libgl1 libgl1-mesa-dri libegl1 libxkbcommon-x11-0 libxcb-cursor0), or use a machine with a screen."
)


def main(out: Path | None = None, interactive: bool | None = None) -> int:
    """Show the loop.

    Parameters
    ----------
    out
        Folder for screenshots and exported files; made where it is missing. A temporary one by default.
    interactive
        Whether a person is to be shown a window. By default, whether there is a screen.

    Returns
    -------
    int
        0 where every station did its work.

    Raises
    ------
    PixelCAMError
        There is neither a screen nor Xvfb.
    """
    if has_screen() if interactive is None else interactive:
        return _show()
    folder = Path(out).absolute() if out is not None else Path(tempfile.mkdtemp(prefix="pixelcam-demo-"))
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder / HOME, ignore_errors=True)
    with _virtual_screen() as display:
        environment = {
            **os.environ,
            "DISPLAY": display,
            "PIXELCAM_HOME": str(folder / HOME),
            "NAPARI_CONFIG": str(folder / HOME / "napari" / "settings.yaml"),
            "NAPARI_ASYNC": "0",
            "QT_QPA_PLATFORM": "xcb",
            "LIBGL_ALWAYS_SOFTWARE": "1",
            "OMP_WAIT_POLICY": "PASSIVE",  # window and job share the cores: do not spin while waiting
        }
        environment.pop("WAYLAND_DISPLAY", None)
        command = [sys.executable, "-m", "napari_pixelcam.demo", "--walk", str(folder)]
        return subprocess.run(command, env=environment, check=False).returncode


def has_screen() -> bool:
    """Return whether a window can be opened that somebody sees."""
    if sys.platform.startswith("linux"):
        return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return True


def _show() -> int:
    """Open napari on the sample, with the dock open and the image localized, and wait until it is closed."""
    import napari

    from napari_pixelcam.demo_stations import open_dock, open_sample

    viewer = napari.Viewer(title="PixelCAM")
    viewer.window.resize(*SIZE)
    open_sample(viewer)
    dock = open_dock(viewer)
    dock.session.catalogue_changed.connect(_Once(dock.localize_controller.run))
    napari.run()
    return 0


class _Once:
    """Runs something at the first call."""

    def __init__(self, action: object) -> None:
        self._action = action

    def __call__(self, *ignored: object) -> None:
        action, self._action = self._action, None
        if callable(action):
            from qtpy.QtCore import QTimer

            QTimer.singleShot(0, action)  # after the model is chosen, which this call is a part of


@contextlib.contextmanager
def _virtual_screen() -> Iterator[str]:
    """Start Xvfb on a display that it chooses itself, and yield its name."""
    program = shutil.which("Xvfb")
    if program is None:
        raise PixelCAMError(_NO_XVFB)
    reading, writing = os.pipe()
    server = subprocess.Popen(
        [program, "-displayfd", str(writing), "-screen", "0", "1600x1000x24", "-nolisten", "tcp"],
        pass_fds=(writing,),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    try:
        with os.fdopen(reading) as pipe:
            number = pipe.readline().strip()  # comes once the server is ready, or empty when it died
        if not number:
            raise PixelCAMError(f"{program} does not start; try it by hand to see why.")
        yield f":{number}"
    finally:
        server.terminate()
        server.wait()


def _command_line(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m napari_pixelcam.demo", description=main.__doc__)
    parser.add_argument("--out", type=Path, help="folder for screenshots and exported files")
    parser.add_argument("--walk", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    try:
        if given.walk is None:
            return main(given.out)
        from napari_pixelcam.demo_stations import walk

        return walk(given.walk)
    except PixelCAMError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command's own word
        return 1


if __name__ == "__main__":
    raise SystemExit(_command_line())
