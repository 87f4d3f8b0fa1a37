"""The user's folder, and that asking for it loads next to nothing."""

import subprocess
import sys
from pathlib import Path

from pixelcam.folders import expanded, user_dir


def test_the_user_folder_is_where_the_environment_says(user_folder):
    assert user_dir() == user_folder


def test_a_home_is_put_in_where_the_system_knows_whose():
    assert expanded("~/seeds") == Path.home() / "seeds"
    assert expanded("~nobody-of-that-name/seeds") == Path("~nobody-of-that-name/seeds")


def test_the_folder_is_known_without_torch():
    code = "import sys, pixelcam.folders; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
