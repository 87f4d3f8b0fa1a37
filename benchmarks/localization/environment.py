"""On what a cell ran, in words that name neither the machine nor its folders."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import timm
import torch

import pixelcam

ROOT = Path(__file__).resolve().parents[2]


@cache
def environment() -> dict[str, Any]:
    """Return versions and machine."""
    return {
        "pixelcam": pixelcam.__version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "timm": timm.__version__,
        "machine": machine(),
    }


def machine() -> str:
    """Return the machine in words: system, architecture, processor, cores, accelerator."""
    words = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {processor()}"
    return f"{words}, {torch.cuda.get_device_name()}" if torch.cuda.is_available() else words


def processor() -> str:
    """Return the processor's name, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _commit() -> str:
    """Return the commit of the checkout, marked where the package differs from it."""
    head = _git("rev-parse", "--short=12", "HEAD")
    if not head:
        return "not a checkout"
    return f"{head} with changes" if _git("status", "--porcelain", "--", "pixelcam") else head


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
