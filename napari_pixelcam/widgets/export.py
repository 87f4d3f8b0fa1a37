"""Section 5: take seeds, map and regions along."""

from __future__ import annotations

import html
from pathlib import Path

from magicgui.widgets import CheckBox, Container, FileEdit
from qtpy.QtCore import QUrl

from napari_pixelcam.controllers.export import ExportChoices, ExportController
from napari_pixelcam.widgets.message import Message
from napari_pixelcam.widgets.section import Section, button

_BOXES = {
    "Seeds": (
        ("seeds_png", "PNG", "What fine-tuning reads: 0 none, 1 background, 2 foreground, with a sidecar"),
        ("seeds_npz", "NPZ", "The same as a NumPy archive"),
    ),
    "Map": (
        ("map_tiff", "OME-TIFF", "Foreground probability as float, with the pixel size"),
        ("map_png", "PNG", "The same in 256 grays"),
    ),
    "Regions": (("regions", "GeoJSON", "Outlines at the threshold, as QuPath reads them"),),
    "Summary": (("summary", "JSON", "Classes, threshold and area"),),
}


class ExportSection(Section):
    """Formats, a folder, and where it all went."""

    def __init__(self, controller: ExportController) -> None:
        super().__init__("5   Export")
        self._controller = controller
        defaults = ExportChoices()
        self.boxes: dict[str, CheckBox] = {}
        rows = []
        for title, boxes in _BOXES.items():
            made = []
            for field, text, tip in boxes:
                self.boxes[field] = CheckBox(text=text, value=getattr(defaults, field), tooltip=tip)
                made.append(self.boxes[field])
            line = Container(widgets=made, layout="horizontal", labels=False, label=title)
            line.margins = (0, 0, 0, 0)
            rows.append(line)
        self.folder = FileEdit(mode="d", label="Folder", value=Path.home(), tooltip="Where the files go")
        self.folder.choose_btn.text = "…"
        self.folder.choose_btn.tooltip = "Choose the folder"
        self.folder.choose_btn.max_width = 32
        self.form = Container(widgets=[*rows, self.folder], labels=True)
        self.form.margins = (0, 0, 0, 0)
        self.align_labels(self.form)
        self.run_button = button("E&xport", "Write the ticked files into the folder (Alt+X)")
        self.status = Message()
        self.body.addWidget(self.form.native)
        self.body.addWidget(self.run_button)
        self.body.addWidget(self.status)
        self.run_button.clicked.connect(lambda: self._run())
        controller.changed.connect(self._refresh)
        controller.exported.connect(self._on_exported)
        controller.failed.connect(lambda message: self.status.say(message, "error"))
        self._refresh()

    @property
    def choices(self) -> ExportChoices:
        """What is ticked."""
        return ExportChoices(**{field: box.value for field, box in self.boxes.items()})

    def _run(self) -> None:
        self.status.say("writing…")
        self._controller.run(Path(self.folder.value).expanduser(), self.choices)

    def _refresh(self) -> None:
        self.run_button.setEnabled(
            not self._controller.running and self._controller.session.record is not None
        )

    def _on_exported(self, folder: Path, paths: list[Path]) -> None:
        colour = self.status.link_colour
        link = QUrl.fromLocalFile(str(folder)).toString()
        names = "<br>".join(html.escape(path.name) for path in paths)
        count = "1 file" if len(paths) == 1 else f"{len(paths)} files"
        self.status.say(
            f"{count} in <a href='{link}' style='color: {colour}'>{html.escape(str(folder))}</a><br>{names}",
            "good",
            rich=True,
        )
