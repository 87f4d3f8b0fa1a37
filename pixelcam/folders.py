"""Where the user's own things are kept. Imports little, so that nothing has to wait for it."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def user_dir() -> Path:
    """Return the folder of a user's models, seeds and runs: ``$PIXELCAM_HOME``, else the system's place."""
    home = os.environ.get("PIXELCAM_HOME")
    return Path(home).expanduser() if home else Path(platformdirs.user_data_dir("pixelcam"))
