"""The `pixelcam` command: a thin shell over the package, with one sentence for each failure."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Sequence

from pixelcam.cli.interruption import interruptible
from pixelcam.errors import CancelledError

__all__ = ["main"]

DONE, FAILED, CANCELLED = 0, 1, 130
DEBUG_VARIABLE = "PIXELCAM_DEBUG"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments
        What follows ``pixelcam``; the process's own by default.

    Returns
    -------
    int
        0 done, 1 failed (with one sentence on stderr for each failure), 2 wrong usage, 130 cancelled, by
        Ctrl-C or SIGTERM too. With ``PIXELCAM_DEBUG=1`` an error is raised instead of described.
    """
    debug = bool(os.environ.get(DEBUG_VARIABLE))
    with interruptible() as interruption, warnings.catch_warnings():
        if not debug:
            # Libraries warn in their own words about things that nobody at the command line can change.
            warnings.simplefilter("ignore")
            logging.disable(logging.CRITICAL)
        try:
            return _run(arguments)
        except (KeyboardInterrupt, CancelledError):
            return _cancelled()
        except Exception as error:
            if interruption.came:  # a library has wrapped the interrupt in an error of its own
                return _cancelled()
            if debug:
                raise
            from pixelcam.cli.failures import describe

            return _failed(describe(error))
        finally:
            logging.disable(logging.NOTSET)


def _run(arguments: Sequence[str] | None) -> int:
    from pixelcam.cli.app import app  # within the reach of the handlers above

    try:
        app(args=arguments, prog_name="pixelcam")
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else DONE if ending.code is None else FAILED
        return _cancelled() if code == CANCELLED else code
    return DONE


def _failed(sentence: str) -> int:
    from pixelcam.cli.console import print_error

    print_error(sentence)
    return FAILED


def _cancelled() -> int:
    print("Cancelled.", file=sys.stderr)  # noqa: T201
    return CANCELLED
