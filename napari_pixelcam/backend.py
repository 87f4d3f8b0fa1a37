"""The seam between the dock and `pixelcam`: everything slow to import or to run passes through here."""

from __future__ import annotations

import gc
import sys
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pixelcam.events import Event

if TYPE_CHECKING:
    from pixelcam.events import EventSink, StopCheck
    from pixelcam.localize import Localization
    from pixelcam.refine import Refiner
    from pixelcam.slides import Slide


class Choice(NamedTuple):
    """What localizes: a model by name, on a device, from this many mirrored views of an image."""

    model: str
    device: str
    views: int = 1


@dataclass(frozen=True)
class Catalogue:
    """What this machine offers: model names and device names."""

    models: tuple[str, ...]
    devices: tuple[str, ...]


def keep_triton_out() -> None:
    """Keep torch from loading triton where that would kill the process.

    Mesa's software and AMD drivers bring a libLLVM; triton brings another, and loading it beside the first
    ends in a segmentation fault. napari has drawn before a model is asked for, so Mesa's is there first. Only
    compiled models need triton, and the viewer runs none; jobs run in processes of their own.
    """
    if "triton" in sys.modules or not sys.platform.startswith("linux"):
        return
    try:
        mapped = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    if "libLLVM" in mapped:
        sys.modules["triton"] = None  # type: ignore[assignment] - Python's own way to say: not importable


def read_models() -> tuple[str, ...]:
    """Return the names of the models at hand, which needs no torch."""
    from pixelcam.model import list_models

    return tuple(entry.name for entry in list_models())


def read_devices() -> tuple[str, ...]:
    """Return the devices at hand. Imports torch, so call it away from the interface's thread."""
    keep_triton_out()
    from pixelcam.model import available_devices

    return ("auto", *available_devices())


def digest(model: str) -> str:
    """Return the SHA-256 of a model's file, by which maps name the model that made them."""
    from pixelcam.model import resolve_model

    return _file_digest(resolve_model(model))


def name_of(sha256: str, hint: str) -> str:
    """Return the name on the list of the model with that digest; `hint`, its own name, where it is not there.

    A model knows a name of its own, but may be on the list under another one.
    """
    from pixelcam.model import list_models

    entries = sorted(list_models(), key=lambda entry: entry.name != hint)
    return next((entry.name for entry in entries if _file_digest(entry.path) == sha256), hint)


@cache
def foreground_name_of(model: str, sha256: str) -> str:
    """Return what the foreground of a model on the list is called; empty where that is unknown."""
    from pixelcam.model import registry

    return registry.foreground_name_of(model, sha256)


def _file_digest(path: Path) -> str:
    status = path.stat()
    return _digest_of_state(path, status.st_size, status.st_mtime_ns)


@cache
def _digest_of_state(path: Path, size: int, modified: int) -> str:
    from pixelcam.slides.slide import hash_file

    return hash_file(path)


class Localizers:
    """The one localizer that is loaded, kept until another is asked for or its memory is needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted_back = threading.Event()
        self._choice: Choice | None = None
        self._localizer: Any = None

    def localize(
        self, slide: Slide, choice: Choice, *, on_event: EventSink, should_stop: StopCheck
    ) -> Localization:
        """Localize with the chosen model, loading it if another is loaded; one call at a time."""
        with self._lock:
            if self._choice is None or self._choice[:2] != choice[:2]:
                on_event(Event("started", stage="load", message=_loading()))
            self._take(choice)
            return self._localizer.localize(slide, on_event=on_event, should_stop=should_stop)

    def refiner(self, slide: Slide, choice: Choice, *, should_stop: StopCheck) -> Refiner:
        """Return what refits the map of an image to seeds, after one more pass of the model over it.

        Raises
        ------
        CancelledError
            `should_stop` said so, or the device is wanted for something else.
        """
        keep_triton_out()
        from pixelcam.events import Stop
        from pixelcam.refine import Refiner, extract_features

        def stop() -> Stop:
            return Stop.DISCARD if self._wanted_back.is_set() else should_stop()

        with self._lock:
            self._take(choice)
            return Refiner(extract_features(self._localizer, slide, should_stop=stop))

    def _take(self, choice: Choice) -> None:
        if self._choice == choice:
            return
        if self._choice is not None and self._choice._replace(views=choice.views) == choice:
            self._localizer = self._localizer.seen_from(choice.views)
        else:
            self._drop()
            self._localizer = _load(choice)
        self._choice = choice

    @property
    def loaded(self) -> bool:
        """Whether a model occupies memory."""
        return self._localizer is not None

    def drop(self) -> None:
        """Let go of the model; call `collect` on the interface's thread thereafter.

        It waits for a localization that is still running, and for an extraction of features to break off:
        call it away from the interface's thread.
        """
        self._wanted_back.set()
        try:
            with self._lock:
                self._drop()
        finally:
            self._wanted_back.clear()

    def release(self) -> None:
        """Let go of the model and its device memory, as when the window closes; waits as `drop` does."""
        self.drop()
        collect()

    def _drop(self) -> None:
        self._localizer, self._choice = None, None
        _free_device_memory()


def collect() -> None:
    """Give back the memory of what nobody holds any more. Call it on the interface's thread.

    In another one the collector would delete Qt objects there.
    """
    gc.collect()
    _free_device_memory()


def _loading() -> str:
    return "loading the model…" if "torch" in sys.modules else "starting PyTorch, which takes a while…"


def _free_device_memory() -> None:
    if "torch" in sys.modules:
        from pixelcam.model import free_device_memory

        free_device_memory()


def _load(choice: Choice) -> Any:
    keep_triton_out()  # once more: nothing may have been drawn yet when the models were listed
    import pixelcam

    return pixelcam.load(choice.model, choice.device, views=choice.views)


def check_name(name: str) -> None:
    """Refuse a name that no new model can have. Looks on the disk: call it away from the interface's thread.

    Raises
    ------
    ConfigError
        As `pixelcam.model.registry.check_new_name`.
    """
    keep_triton_out()
    from pixelcam.model.registry import check_new_name

    check_new_name(name)


def register(checkpoint: Path, name: str) -> str:
    """Put a checkpoint among the user's models, under the name or the next free one, and return that name."""
    from pixelcam.model import list_models, register_model

    taken = {entry.name for entry in list_models()}
    free = name
    for count in range(2, 10_000):
        if free not in taken:
            break
        free = f"{name}-{count}"
    return register_model(checkpoint, free).name
