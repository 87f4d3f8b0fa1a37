"""What the dock's sections share: the image at hand, the model, the device, what is known of each image."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
from napari_pixelcam.device_queue import DeviceQueue
from napari_pixelcam.images import (
    KEY,
    PROJECT_IMAGE,
    LayerSource,
    is_single,
    microns_per_pixel,
    sized,
    source_of,
)
from napari_pixelcam.preferences import Preferences
from napari_pixelcam.seedwatch import SeedWatch
from pixelcam.errors import ImageError, PixelCAMError
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


_HIDING = ("translucent", "translucent_no_depth", "opaque")
"""The ways of blending by which an image hides what lies below it."""


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
    """What the dock knows of the pixels that one image layer shows; others in the layer have another record.

    Parameters
    ----------
    layer
        The image layer.
    source
        The pixels, `None` where they are no single image.
    obstacle
        Why not, as a sentence.
    project_image
        The number that the image has in the open project, `None` where it is not of it.
    """

    layer: Image
    source: LayerSource | None = None
    obstacle: str = ""
    project_image: int | None = None
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

    @classmethod
    def of(cls, layer: Image) -> ImageRecord:
        """Return what is known of a layer at first sight."""
        try:
            source = source_of(layer)
        except ImageError as error:
            return cls(layer, obstacle=str(error))
        known = layer.metadata.get(KEY, {})
        # A project's image is what its file holds, not whatever comes into the layer later.
        own = "slide" not in known or source.slide is not None
        return cls(layer, source, project_image=known.get(PROJECT_IMAGE) if own else None)

    @property
    def name(self) -> str:
        """The image layer's name of now."""
        return self.layer.name

    @property
    def mpp(self) -> float | None:
        """Microns per pixel as the layer has it now, or else as the map was made by."""
        now = microns_per_pixel(self.layer)
        made = self.result.localization.mpp if self.result is not None else None
        return made if now is None else now

    def localization(self) -> Localization:
        """Return the map with the pixel size of now, as it is measured and exported."""
        assert self.result is not None
        return replace(self.result.localization, mpp=self.mpp)

    @property
    def is_current(self) -> bool:
        """Whether the layer still shows these pixels."""
        return self.source.is_of(self.layer) if self.source is not None else not is_single(self.layer)

    def source_now(self) -> LayerSource:
        """Return the record's own pixels, with the name and the pixel size that the layer has now.

        Raises
        ------
        ImageError
            They are no single image.
        """
        if self.source is None:
            raise ImageError(self.obstacle)
        return self.source.named(self.layer)

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
    gone = Signal(object)
    """This record's image has left the viewer, or its layer shows other pixels now."""
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
        self.queue = DeviceQueue(background)
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
        self._leftover: list[Layer] = []
        self._quiet = 0
        self._device = self.preferences.device
        self._views = 4 if self.preferences.four_views else 1
        viewer.layers.events.inserted.connect(self._on_inserted)
        viewer.layers.events.removed.connect(self._on_removed)
        viewer.layers.events.reordered.connect(self._on_reordered)
        viewer.layers.selection.events.active.connect(self._on_active)
        for layer in list(viewer.layers):
            if layer.metadata.get(KEY, {}).get(LEFT):
                viewer.layers.remove(layer)
        for layer in viewer.layers:
            self._wire(layer)
        self._on_active()
        if self._record is None:
            self._choose_any()

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
        events.reordered.disconnect(self._on_reordered)
        self.viewer.layers.selection.events.active.disconnect(self._on_active)
        for layer in list(self._wired):
            self._unwire(layer)
        self.localizers.release()

    # The catalogue of models and devices.

    def refresh_catalogue(self) -> None:
        """Look in the background for the models at hand, and then for the devices, which takes longer."""
        self.background.submit(lambda task: backend.read_models(), done=self._take_models, failed=self.report)

    def _take_models(self, models: tuple[str, ...]) -> None:
        known = self.catalogue
        devices = known.devices if known is not None else tuple(dict.fromkeys(("auto", self._device)))
        self._take_catalogue(backend.Catalogue(models, devices))
        self.background.submit(
            lambda task: backend.read_devices(), done=self._take_devices, failed=self.report
        )

    def _take_devices(self, devices: tuple[str, ...]) -> None:
        if self._device not in devices:
            self.choose_device("auto")
        if self.catalogue is not None:
            self._take_catalogue(replace(self.catalogue, devices=devices))

    def _take_catalogue(self, catalogue: backend.Catalogue) -> None:
        self.catalogue = catalogue
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
        """Make this the image that the sections work on, in napari's list of layers too."""
        if layer is not None and self.record_of(self.viewer.layers.selection.active) is not self._known(
            layer
        ):
            self._select(layer)
        self._turn_to(layer)

    def _turn_to(self, layer: Image | None) -> None:
        record = None if layer is None else self._known(layer)
        if record is not self._record:
            self._record = record
            self.image_changed.emit(record)

    def _known(self, layer: Image) -> ImageRecord:
        record = self._records.get(layer)
        if record is None:
            record = self._records[layer] = ImageRecord.of(layer)
        return record

    def _choose_any(self) -> None:
        """Turn to the image of what is selected, or the uppermost one."""
        active = self.viewer.layers.selection.active
        record, images = self.record_of(active), self.images()
        if record is None and is_subject(active):
            record = self._known(active)
        self._turn_to(record.layer if record is not None else images[0] if images else None)
        if active is None and self._record is not None and self._record.layer in self.viewer.layers:
            self._select(self._record.layer)

    def _select(self, layer: Layer) -> None:
        self._quiet += 1
        try:
            self.viewer.layers.selection.active = layer
        finally:
            self._quiet -= 1

    @contextmanager
    def quietly(self) -> Iterator[None]:
        """Change the list of layers without touching what is selected in it.

        napari makes a layer that is added the active one. That is no choice of the reviewer's: it would take
        the brush out of the hand, and turn the dock to another image.
        """
        selection = self.viewer.layers.selection
        chosen, active = set(selection), selection.active
        self._quiet += 1
        try:
            yield
            there = {layer for layer in chosen if layer in self.viewer.layers}
            if active is not None and active in there:
                selection.active = active
            elif there != set(selection):
                selection.intersection_update(there)
                selection.update(there)
        finally:
            self._quiet -= 1

    @property
    def is_quiet(self) -> bool:
        """Whether what is selected changes by the plugin's own doing."""
        return self._quiet > 0

    def discard(self, layer: Layer) -> None:
        """Take away a layer of an image that is gone: at once from sight, and from the list at the next tick.

        napari may be at removing a whole selection, and would stumble over one that has gone by itself.
        """
        if layer in self.viewer.layers and layer not in self._leftover:
            layer.visible = False
            layer.name = f"{layer.name} (gone)"  # its name is free for another
            self._leftover.append(layer)

    def tick(self) -> None:
        """Take away what is to go; call it several times a second."""
        leftover, self._leftover = self._leftover, []
        if not leftover:
            return
        with self.quietly():
            for layer in leftover:
                if layer in self.viewer.layers:
                    self.viewer.layers.remove(layer)
        if not self.viewer.layers.selection:
            self._choose_any()

    def check(self, record: ImageRecord) -> ImageRecord:
        """Return the record of what an image's layer shows now: another one where that has changed."""
        if self.holds(record) and not record.is_current:
            self._renew(record)
        return self._records.get(record.layer, record)

    def record_of(self, layer: Layer | None) -> ImageRecord | None:
        """Return the record whose image or overlay this layer is."""
        for record in self.records():
            if layer is record.layer or layer in record.layers():
                return record
        return None

    def out_of_sight(self, record: ImageRecord) -> str:
        """Return why an image is not to be seen in the window, as a sentence; empty where it is."""
        if not record.layer.visible:
            return f"{record.name!r} is hidden: click its eye in the layer list."
        if self.viewer.canvas.grid.enabled:
            return ""
        images = self.images()
        above = images[: images.index(record.layer)] if record.layer in images else []
        over = next((layer for layer in above if _covers(layer, record.layer)), None)
        if over is None:
            return ""
        return f"{over.name!r} lies over {record.name!r}: hide it by its eye in the layer list."

    def holds(self, record: ImageRecord) -> bool:
        """Return whether the record's image is still in the viewer, and its layer shows the same pixels."""
        return self._records.get(record.layer) is record and record.layer in self.viewer.layers

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
        if self._quiet:
            return
        layer = self.viewer.layers.selection.active
        record = self.record_of(layer)
        if record is not None:
            self._turn_to(record.layer)
        elif layer is not None and is_subject(layer):
            self._turn_to(layer)

    def _on_inserted(self, event: Any) -> None:
        layer = event.value
        self._part_from_original(layer)
        self._wire(layer)
        if is_subject(layer):
            self.images_changed.emit()
            if self._record is None:
                self._choose_any()

    def _part_from_original(self, layer: Layer) -> None:
        """Give a duplicated layer, which shares what is noted of its original, notes of its own."""
        own = layer.metadata.get(KEY)
        if own is None or not any(
            other is not layer and other.metadata.get(KEY) is own for other in self.viewer.layers
        ):
            return
        layer.metadata[KEY] = {key: value for key, value in own.items() if key != PROJECT_IMAGE}
        if own.get("role") == "seeds":
            self.notified.emit(
                "warning",
                f"{layer.name!r} is a copy: what you paint on it is neither kept nor learned from. "
                f"Paint on {layer_name(own.get('of', ''), 'seeds')!r}.",
            )

    def _on_removed(self, event: Any) -> None:
        layer = event.value
        self._unwire(layer)
        if layer in self._leftover:
            self._leftover.remove(layer)
        if isinstance(layer, Image) and layer in self._records:
            self._lose(self._records[layer])
        for record in list(self._records.values()):
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
            self._record = None
            self._choose_any()
            if self._record is None:
                self.image_changed.emit(None)

    def _on_reordered(self, event: Any = None) -> None:
        self.images_changed.emit()

    def _lose(self, record: ImageRecord) -> None:
        """Let an image go: its seeds are kept, and what lay on it is taken away."""
        del self._records[record.layer]
        self.seeds_leaving.emit(record)
        self.gone.emit(record)
        for layer in record.overlays.values():
            self.discard(layer)

    def _on_data(self, layer: Image, event: Any = None) -> None:
        record = self._records.get(layer)
        if record is not None and not record.is_current:
            self._renew(record)

    def _renew(self, record: ImageRecord) -> None:
        """Begin anew on the pixels that a layer shows now; what there is of the others stays theirs."""
        seeds = self.watch.seeds(record)
        painted, mapped = seeds is not None and seeds.any, record.result is not None
        self._lose(record)
        if record is self._record:
            self._record = None
            self._turn_to(record.layer)
        self.images_changed.emit()
        if painted:
            self.notified.emit(
                "warning",
                f"{record.name!r} shows other pixels now. The seeds painted before are kept with the pixels "
                "that they were painted on, and come back with these; you begin anew on what is shown.",
            )
        elif mapped:
            self.notified.emit(
                "info",
                f"{record.name!r} shows other pixels now, so its map was taken away: localize it anew.",
            )

    def _wire(self, layer: Layer) -> None:
        if not is_subject(layer) or layer in self._wired:
            return
        self._known(layer)
        moved = partial(self._on_moved, layer)
        wires = [(getattr(layer.events, name), moved) for name in TRANSFORM_EVENTS]
        wires.append((layer.events.name, self._on_renamed))
        wires.append((layer.events.visible, self._on_reordered))
        wires += [
            (getattr(layer.events, name), partial(self._on_data, layer)) for name in ("data", "set_data")
        ]
        for emitter, callback in wires:
            emitter.connect(callback)
        self._wired[layer] = wires

    def _unwire(self, layer: Layer) -> None:
        for emitter, callback in self._wired.pop(layer, []):
            emitter.disconnect(callback)

    def _on_moved(self, layer: Image, event: Any = None) -> None:
        record = self._records.get(layer)
        if record is None:
            return
        if record.slide is not None:
            record.slide = sized(record.slide, record.mpp)
        self.moved.emit(record)
        made = record.result.localization.mpp if record.result is not None else None
        if record.result is not None and record.mpp is not None and not _alike(made, record.mpp):
            before = "an unknown pixel size" if made is None else f"{made:.3g} µm"
            self.notified.emit(
                "warning",
                f"A pixel of {record.name!r} is {record.mpp:.3g} µm now; its map was made for {before}: "
                "localize it again.",
            )

    def _on_renamed(self, event: Any) -> None:
        record = self._records.get(event.source)
        for layer in record.layers() if record is not None else []:
            role = layer.metadata.get(KEY, {}).get("role", "")
            old = layer.metadata.get(KEY, {}).get("of", "")
            if layer.name == layer_name(old, role):  # a name the user gave stays
                layer.name = layer_name(event.source.name, role)
            layer.metadata[KEY]["of"] = event.source.name
        self.images_changed.emit()


def _alike(one: float | None, other: float) -> bool:
    return one is not None and math.isclose(one, other, rel_tol=1e-6)


def _covers(over: Image, under: Image) -> bool:
    """Return whether one image hides all of another that lies below it."""
    if not over.visible or over.opacity < 1 or over.blending not in _HIDING:
        return False
    (low, high), (first, last) = over.extent.world[:, -2:], under.extent.world[:, -2:]
    margin = 0.01 * (last - first)  # by which one that lies askew or is a little smaller may miss it
    return bool((low <= first + margin).all() and (high >= last - margin).all())


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
