"""One sentence for every error that can end a command."""

from __future__ import annotations

from pixelcam.errors import PixelCAMError, full_memory


def describe(error: BaseException) -> str:
    """Return one line that says what went wrong and, where it can be known, what to do."""
    if isinstance(error, PixelCAMError):
        return _one_line(str(error))
    full = full_memory(error)
    if full:
        cpu = "--device cpu, or " if full == "device" else ""
        return f"The {full} ran out of memory; use {cpu}smaller images or batches."
    if isinstance(error, OSError) and error.strerror:
        name = f"{error.filename}: " if error.filename else ""
        return _one_line(f"{name}{error.strerror}.")
    return _one_line(
        f"Something unexpected happened ({type(error).__name__}: {error}); "
        "run again with PIXELCAM_DEBUG=1 for the details, and please report them."
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())
