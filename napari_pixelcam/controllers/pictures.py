"""Which picture of a file that holds several is shown; another one is opened as a layer of its own."""

from __future__ import annotations

from napari.layers import Image

from napari_pixelcam.background import Task
from napari_pixelcam.controllers.session import ImageRecord, Session
from napari_pixelcam.images import KEY
from napari_pixelcam.reader import layer_of
from pixelcam.slides import Slide


class PicturesController:
    """Opens the pictures of one file: scanned regions, pages, planes of a stack.

    Parameters
    ----------
    session
        Whose image at hand is asked about, and in whose viewer a chosen picture is shown.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._wanted: tuple[object, int] | None = None

    def slide_of(self, record: ImageRecord | None) -> Slide | None:
        """Return the slide of an image where its file holds several pictures, else `None`."""
        if record is None:
            return None
        slide = record.slide or record.layer.metadata.get(KEY, {}).get("slide")
        return slide if slide is not None and slide.path is not None and slide.pictures > 1 else None

    def choose(self, number: int) -> None:
        """Show a picture of the file of the image at hand: its layer where there is one, else a new one."""
        record = self._session.record
        slide = self.slide_of(record)
        if record is None or slide is None or slide.series == number:
            return
        path = slide.path
        assert path is not None
        for layer in self._session.images():
            other = layer.metadata.get(KEY, {}).get("slide")
            if other is not None and (other.path, other.series) == (path, number):
                self._turn_to(layer, record.layer)
                return
        wanted = self._wanted = (path, number)

        def read(task: Task) -> Slide:
            from pixelcam.slides import open_slide

            return open_slide(path, number)

        def show(found: Slide) -> None:
            if self._wanted == wanted:  # and nothing else was chosen meanwhile
                data, options, _ = layer_of(found)
                options["name"] = f"{path.stem}, picture {number}"
                self._turn_to(self._session.viewer.add_image(data, **options), record.layer)

        self._session.background.submit(read, done=show, failed=self._session.report)

    def _turn_to(self, layer: Image, before: Image) -> None:
        """Show a picture in place of the one before, as both begin at the same corner."""
        before.visible, layer.visible = False, True
        self._session.choose_image(layer)
