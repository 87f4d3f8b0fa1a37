"""Where the user's own things are kept. Imports little, so that nothing has to wait for it."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def expanded(path: str | Path) -> Path:
    """Return a path with ``~`` replaced by the home it stands for; as it is where nobody has that name."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - Path raises for an unknown name


def user_dir() -> Path:
    """Return the folder of a user's models, seeds and runs: ``$PIXELCAM_HOME``, else the system's place."""
    home = os.environ.get("PIXELCAM_HOME")
    return expanded(home) if home else Path(platformdirs.user_data_dir("pixelcam"))
