"""What the dock's sections share: the image at hand, the model, the device, what is known of each image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from napari.layers import Image, Labels, Layer
from psygnal import Signal

from napari_pixelcam import backend
from napari_pixelcam.alignment import TRANSFORM_EVENTS
from napari_pixelcam.background import Background
from napari_pixelcam.images import KEY
from napari_pixelcam.preferences import Preferences
from napari_pixelcam.seedwatch import SeedWatch
from pixelcam.errors import PixelCAMError
from pixelcam.folders import user_dir

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_pixelcam.histogram import ScoreHistogram
    from napari_pixelcam.livemap import LiveMap
    from napari_pixelcam.outlines import Outline
    from pixelcam.localize import Localization
    from pixelcam.slides import Slide


LEFT = "left"
"""Stands in the metadata of a layer of ours that a dock has left behind, and the next one takes away."""


@dataclass(frozen=True)
class MapResult:
    """A localization with the histogram that answers every threshold at once."""

    localization: Localization
    histogram: ScoreHistogram
    model: str
    others: tuple[int, int] = (0, 0)
    """How many other images counted where it was refitted, and how many labelled places on them."""

    @property
    def maker(self) -> str:
        """The model, and its views where they are several, for people."""
        views = self.localization.model.views
        return self.model if views == 1 else f"{self.model}, {views} views"


@dataclass(eq=False)
class ImageRecord:
    """What the dock knows of one image layer."""

    layer: Image
    slide: Slide | None = None
    fingerprint: str | None = None
    result: MapResult | None = None
    previous: MapResult | None = None
    threshold: float | None = None
    view: str | None = None
    overlays: dict[str, Image] = field(default_factory=dict)
    live: LiveMap | None = None
    outline: Outline | None = None
    pending: bool = False
    seeds: Labels | None = None
    seeds_level: int = 0
    seeds_scale: tuple[float, float] = (1.0, 1.0)
    seeds_translate: tuple[float, float] = (0.0, 0.0)
    corrected_label: str | None = None
    started: str | None = None

    @property
    def name(self) -> str:
        """The image layer's name of now."""
        return self.layer.name

    def layers(self) -> list[Layer]:
        """Return the layers that lie on the image."""
        return [*self.overlays.values(), *([self.seeds] if self.seeds is not None else [])]


class Session:
    """The shared state of one dock.

    Parameters
    ----------
    viewer
        A viewer or a bare `ViewerModel`.
    background
        Where slow work runs.
    preferences
        The user's settings.
    """

    image_changed = Signal(object)
    """The chosen image is now this record, or `None`."""
    images_changed = Signal()
    """The image layers to choose from have changed, or their names."""
    catalogue_changed = Signal(object)
    """The models and devices at hand are now these (a `Catalogue`)."""
    model_changed = Signal(str)
    device_changed = Signal(str)
    views_changed = Signal(int)
    localized = Signal(object)
    """This record has a new map."""
    refined = Signal(object)
    """This record's map is now another, refitted to its seeds or the model's own again."""
    moved = Signal(object)
    """This record's image has another transform."""
    overlay_removed = Signal(object)
    """A layer on this record's image was deleted."""
    seeds_changed = Signal(object)
    """This record's seed layer was made, deleted or replaced."""
    seeds_leaving = Signal(object)
    """This record's seed layer, or its image, has just been deleted; the last moment to save its seeds."""
    notified = Signal(str, str, object)
    """Something to tell the user: level ("info", "warning" or "error"), a sentence, and what it speaks of.

    That is a function: once it returns another value than now, the sentence is out of date. It may be left
    out where that is what is `at_hand`.
    """

    def __init__(
        self, viewer: ViewerModel, background: Background, preferences: Preferences | None = None
    ) -> None:
        self.viewer = viewer
        self.background = background
        self.preferences = preferences or Preferences()
        self.localizers = backend.Localizers()
        self.watch = SeedWatch(background)
        self.seeds_changed.connect(self.watch.follow)  # before anyone who asks what is painted
        self.catalogue: backend.Catalogue | None = None
        self._records: WeakKeyDictionary[Image, ImageRecord] = WeakKeyDictionary()
        self._wired: WeakKeyDictionary[Layer, list[tuple[Any, Any]]] = WeakKeyDictionary()
        self._record: ImageRecord | None = None
        self._waiting: WeakKeyDictionary[ImageRecord, list[Callable[[], object]]] = WeakKeyDictionary()
        self._model = ""
        self._device = self.preferences.device
        self._views = 4 if self.preferences.four_views else 1
        viewer.layers.events.inserted.connect(self._on_inserted)
        viewer.layers.events.removed.connect(self._on_removed)
        viewer.layers.selection.events.active.connect(self._on_active)
        for layer in list(viewer.layers):
            if layer.metadata.get(KEY, {}).get(LEFT):
                viewer.layers.remove(layer)
        for layer in viewer.layers:
            self._wire(layer)
        self._on_active()
        if self._record is None and self.images():
            self.choose_image(self.images()[0])

    def leave(self, record: ImageRecord) -> None:
        """Leave an image's layers in the viewer for a later session to make anew; its seeds are kept."""
        for layer in record.layers():
            layer.metadata[KEY][LEFT] = True
        if record.seeds is not None:
            record.seeds.editable = False  # nobody would keep what is painted now

    def close(self) -> None:
        """Stop listening to the viewer and let the model go."""
        events = self.viewer.layers.events
        events.inserted.disconnect(self._on_inserted)
        events.removed.disconnect(self._on_removed)
        self.viewer.layers.selection.events.active.disconnect(self._on_active)
        for layer in list(self._wired):
            self._unwire(layer)
        self.localizers.release()

    # The catalogue of models and devices.

    def refresh_catalogue(self) -> None:
        """Look in the background for the models and devices at hand."""
        self.background.submit(
            lambda task: backend.read_catalogue(), done=self._take_catalogue, failed=self.report
        )

    def _take_catalogue(self, catalogue: backend.Catalogue) -> None:
        self.catalogue = catalogue
        if self._device not in catalogue.devices:
            self.choose_device("auto")
        self.catalogue_changed.emit(catalogue)
        if self._model not in catalogue.models:
            wanted = self.preferences.model
            known = catalogue.models
            self.choose_model(wanted if wanted in known else known[0] if known else "")

    def add_model(self, name: str) -> None:
        """Put a new model on the list and choose it."""
        catalogue = self.catalogue
        if catalogue is not None and name not in catalogue.models:
            self.catalogue = replace(catalogue, models=(*catalogue.models, name))
            self.catalogue_changed.emit(self.catalogue)
        self.choose_model(name)

    @property
    def home(self) -> Path:
        """The folder for the user's seeds and runs."""
        return user_dir()

    @property
    def model(self) -> str:
        """The chosen model's name, empty where there is none."""
        return self._model

    def choose_model(self, name: str) -> None:
        """Choose the model that Localize runs and Fine-tune starts from."""
        if name != self._model:
            self._model = name
            self.model_changed.emit(name)

    @property
    def device(self) -> str:
        """The chosen device's name."""
        return self._device

    def choose_device(self, name: str) -> None:
        """Choose the device that models run on."""
        if name != self._device:
            self._device = name
            self.device_changed.emit(name)

    @property
    def views(self) -> int:
        """From how many mirrored views of an image Localize runs, 1 or 4."""
        return self._views

    def choose_views(self, views: int) -> None:
        """Choose from how many mirrored views Localize runs."""
        if views != self._views:
            self._views = views
            self.views_changed.emit(views)

    @property
    def choice(self) -> backend.Choice:
        """What Localize runs."""
        return backend.Choice(self._model, self._device, self._views)

    def choice_of(self, maps: MapResult) -> backend.Choice:
        """Return what made a map, on the device that is chosen now."""
        return backend.Choice(maps.model, self._device, maps.localization.model.views)

    # The images.

    @property
    def record(self) -> ImageRecord | None:
        """The chosen image, or `None` where there is none."""
        return self._record

    def images(self) -> list[Image]:
        """Return the viewer's image layers that are not maps of ours, top first."""
        return [layer for layer in reversed(self.viewer.layers) if is_subject(layer)]

    def records(self) -> list[ImageRecord]:
        """Return what is known of the images in the viewer, in the order of its layers."""
        return [self._records[layer] for layer in self.viewer.layers if layer in self._records]

    def choose_image(self, layer: Image | None) -> None:
        """Make this the image that the sections work on."""
        record = None if layer is None else self._records.setdefault(layer, ImageRecord(layer))
        if record is not self._record:
            self._record = record
            self.image_changed.emit(record)

    def record_of(self, layer: Layer | None) -> ImageRecord | None:
        """Return the record whose image or overlay this layer is."""
        for record in self.records():
            if layer is record.layer or layer in record.layers():
                return record
        return None

    def holds(self, record: ImageRecord) -> bool:
        """Return whether the record's image is still in the viewer."""
        return record.layer in self.viewer.layers

    def when_whole(self, record: ImageRecord, do: Callable[[], object]) -> None:
        """Call `do` when the record's map is that of all its seeds: at once, where no refit is under way."""
        if record.pending:
            self._waiting.setdefault(record, []).append(do)
        else:
            do()

    def is_awaited(self, record: ImageRecord) -> bool:
        """Return whether somebody waits for the record's map to be whole."""
        return bool(self._waiting.get(record))

    def settle(self, record: ImageRecord) -> None:
        """Say that the record's map is whole, or that no other is to be expected."""
        record.pending = False
        for do in self._waiting.pop(record, []):
            do()

    def report(self, error: Exception, about: Callable[[], object] | None = None) -> None:
        """Tell the user of a failure: its own sentence if it is one of ours, else what broke."""
        self.notified.emit("error", sentence(error), about or self.at_hand)

    def at_hand(self) -> tuple[object, ...]:
        """Return what most messages speak of: the chosen image, model and device."""
        return self._record, self._model, self._device, self._views

    def map_at_hand(self) -> tuple[object, ...]:
        """Return what messages on a map speak of: the image's map, and where its threshold is."""
        record = self._record
        return (record, None, None) if record is None else (record, record.result, record.threshold)

    def _on_active(self, event: Any = None) -> None:
        layer = self.viewer.layers.selection.active
        record = self.record_of(layer)
        if record is not None:
            self.choose_image(record.layer)
        elif layer is not None and is_subject(layer):
            self.choose_image(layer)

    def _on_inserted(self, event: Any) -> None:
        layer = event.value
        self._wire(layer)
        if is_subject(layer):
            self.images_changed.emit()
            if self._record is None:
                self.choose_image(layer)

    def _on_removed(self, event: Any) -> None:
        layer = event.value
        self._unwire(layer)
        if isinstance(layer, Image) and layer in self._records:
            self.seeds_leaving.emit(self._records.pop(layer))
        for record in self._records.values():
            if layer is record.seeds:
                self.seeds_leaving.emit(record)
                record.seeds = None
                self.seeds_changed.emit(record)
            for role in [role for role, overlay in record.overlays.items() if overlay is layer]:
                del record.overlays[role]
                self.overlay_removed.emit(record)
        if is_subject(layer):
            self.images_changed.emit()
        if self._record is not None and self._record.layer is layer:
            rest = self.images()
            self.choose_image(rest[0] if rest else None)

    def _wire(self, layer: Layer) -> None:
        if not is_subject(layer) or layer in self._wired:
            return
        moved = partial(self._on_moved, layer)
        wires = [(getattr(layer.events, name), moved) for name in TRANSFORM_EVENTS]
        wires.append((layer.events.name, self._on_renamed))
        for emitter, callback in wires:
            emitter.connect(callback)
        self._wired[layer] = wires

    def _unwire(self, layer: Layer) -> None:
        for emitter, callback in self._wired.pop(layer, []):
            emitter.disconnect(callback)

    def _on_moved(self, layer: Image, event: Any = None) -> None:
        record = self._records.get(layer)
        if record is not None:
            self.moved.emit(record)

    def _on_renamed(self, event: Any) -> None:
        record = self._records.get(event.source)
        for layer in record.layers() if record else []:
            role = layer.metadata.get(KEY, {}).get("role", "")
            old = layer.metadata.get(KEY, {}).get("of", "")
            if layer.name == layer_name(old, role):  # a name the user gave stays
                layer.name = layer_name(event.source.name, role)
            layer.metadata[KEY]["of"] = event.source.name
        self.images_changed.emit()


def layer_name(image: str, role: str) -> str:
    """Return the name of an image's layer of a role ("foreground", "background" or "seeds")."""
    return f"{image} · {role}"


def is_subject(layer: Layer | None) -> bool:
    """Return whether a layer is an image to be localized, and not a map of ours."""
    return isinstance(layer, Image) and "role" not in layer.metadata.get(KEY, {})


def sentence(error: Exception) -> str:
    """Return what to tell people of an error."""
    if isinstance(error, PixelCAMError):
        return str(error)
    return f"Something unexpected went wrong ({type(error).__name__}: {error}); please report it."
