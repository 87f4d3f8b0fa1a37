"""Section 1: which image, which model, on which device."""

from __future__ import annotations

from typing import Any

from magicgui.widgets import ComboBox, Container
from napari.layers import Image

from napari_pixelcam.backend import Catalogue
from napari_pixelcam.controllers.pictures import PicturesController
from napari_pixelcam.controllers.session import ImageRecord, Session
from napari_pixelcam.images import describe_shape, microns_per_pixel
from napari_pixelcam.widgets.section import Section, note

_DEVICES = {"auto": "automatic", "cpu": "cpu (slow, always there)"}


class ImageModelSection(Section):
    """Three choices and a line about the image."""

    def __init__(self, session: Session) -> None:
        super().__init__("1   Image && model")
        self._session = session
        self._pictures = PicturesController(session)
        self.image = ComboBox(
            label="Image",
            choices=self._image_choices,
            nullable=True,
            tooltip="The image layer that the sections below work on. It follows the layer list.",
        )
        self.picture = ComboBox(
            label="Picture",
            choices=self._picture_choices,
            tooltip="The file of this image holds several pictures; another one opens as a layer of its own",
        )
        self.model = ComboBox(
            label="Model",
            choices=self._model_choices,
            tooltip="The model that Localize runs and that Fine-tune starts from",
        )
        self.device = ComboBox(
            label="Device",
            choices=self._device_choices,
            tooltip="The processor that the model runs on; “automatic” takes the fastest that is here",
        )
        self.form = Container(widgets=[self.image, self.picture, self.model, self.device], labels=True)
        self.form.margins = (0, 0, 0, 0)
        self.align_labels(self.form)
        self.about = note()
        self.body.addWidget(self.form.native)
        self.body.addWidget(self.about)
        self.image.changed.connect(self._on_image_chosen)
        self.picture.changed.connect(self._on_picture_chosen)
        self.model.changed.connect(lambda name: name and session.choose_model(name))
        self.device.changed.connect(lambda name: name and session.choose_device(name))
        session.images_changed.connect(self._refresh_images)
        session.image_changed.connect(self._show_image)
        session.catalogue_changed.connect(self._refresh_catalogue)
        session.model_changed.connect(self._show_model)
        session.device_changed.connect(self._show_device)
        session.moved.connect(lambda record: self._describe(session.record))
        self._refresh_images()
        self._refresh_catalogue(session.catalogue)
        self._show_image(session.record)

    def _image_choices(self, widget: Any = None) -> list[tuple[str, Image]]:
        return [(layer.name, layer) for layer in self._session.images()]

    def _picture_choices(self, widget: Any = None) -> list[tuple[str, int]]:
        slide = self._pictures.slide_of(self._session.record)
        count = slide.pictures if slide is not None else 0
        return [(f"{number} of {count}", number) for number in range(1, count + 1)]

    def _model_choices(self, widget: Any = None) -> list[str]:
        catalogue = self._session.catalogue
        return list(catalogue.models) if catalogue else []

    def _device_choices(self, widget: Any = None) -> list[tuple[str, str]]:
        catalogue = self._session.catalogue
        names = catalogue.devices if catalogue else (self._session.device,)
        return [(_DEVICES.get(name, name), name) for name in names]

    def _on_image_chosen(self, layer: Image | None) -> None:
        if layer is not None:
            self._session.choose_image(layer)
        else:
            self._show_image(self._session.record)  # one is at hand all the same

    def _on_picture_chosen(self, number: int | None) -> None:
        if number is not None:
            self._pictures.choose(number)
            self._show_picture(self._session.record)  # the other one is not there yet, or cannot be had

    def _refresh_images(self) -> None:
        with self.image.changed.blocked():
            self.image.reset_choices()
        self._show_image(self._session.record)

    def _refresh_catalogue(self, catalogue: Catalogue | None) -> None:
        with self.model.changed.blocked(), self.device.changed.blocked():
            self.model.reset_choices()
            self.device.reset_choices()
        self._show_model(self._session.model)
        self._show_device(self._session.device)

    def _show_image(self, record: ImageRecord | None) -> None:
        with self.image.changed.blocked():
            if record is not None and record.layer in self.image.choices:
                self.image.value = record.layer
            elif record is None:
                self.image.value = None
        self._show_picture(record)
        self._describe(record)

    def _show_picture(self, record: ImageRecord | None) -> None:
        slide = self._pictures.slide_of(record)
        with self.picture.changed.blocked():
            self.picture.reset_choices()
            if slide is not None:
                self.picture.value = slide.series
        self.picture.visible = slide is not None

    def _show_model(self, name: str) -> None:
        with self.model.changed.blocked():
            if name in self.model.choices:
                self.model.value = name

    def _show_device(self, name: str) -> None:
        with self.device.changed.blocked():
            if name in self.device.choices:
                self.device.value = name

    def _describe(self, record: ImageRecord | None) -> None:
        if record is None:
            self.about.setText("No image is open: File ▸ Open, or File ▸ Open Sample ▸ PixelCAM.")
            return
        parts = [describe_shape(record.layer)]
        if not record.obstacle:
            mpp = microns_per_pixel(record.layer)
            parts.append(f"{mpp:.3g} µm per pixel" if mpp else "pixel size unknown")
        unseen = self._session.out_of_sight(record)
        self.about.setText(", ".join(parts) + (f". {unseen}" if unseen else ""))
