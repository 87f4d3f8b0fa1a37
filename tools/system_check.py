"""Check that this machine can open a napari window without a screen; `--install` makes it so where apt can.

Prints one line and exits 1 where something is missing that cannot be installed from here.
Set PIXELCAM_NO_APT=1 to leave the machine as it is.
"""

from __future__ import annotations

import argparse
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

SYSTEM = runpy.run_path(str(Path(__file__).resolve().parent.parent / "pixelcam" / "system.py"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--install", action="store_true", help="install what is missing with apt-get")
    install = parser.parse_args().install
    needs = SYSTEM["missing"]()
    if needs and install:
        command = apt_command()
        if command is not None:
            packages = sorted({need.package for need in needs})
            print(f"Installing what a napari window needs: {' '.join(packages)}", flush=True)
            if apt_install(command, packages):
                needs = SYSTEM["missing"]()
    if not needs:
        return 0
    names = ", ".join(need.name for need in needs)
    print(f"Missing for the napari window: {names}; {SYSTEM['how_to_install'](needs)}.", file=sys.stderr)
    return 1


def apt_command() -> list[str] | None:
    """Return how apt-get runs without asking anything, or None where it does not."""
    if os.environ.get("PIXELCAM_NO_APT") or not shutil.which("apt-get"):
        return None
    if os.geteuid() == 0:
        return ["apt-get"]
    if shutil.which("sudo") and subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode == 0:
        return ["sudo", "-n", "apt-get"]
    return None


def apt_install(command: list[str], packages: list[str]) -> bool:
    """Install `packages`; on failure print apt-get's last lines and return False."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        done = subprocess.run(
            [*command, "-qq", *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
    if done.returncode:
        print("\n".join((done.stdout + done.stderr).splitlines()[-5:]), file=sys.stderr)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
