"""Section 5: take seeds, map and regions along."""

from __future__ import annotations

import html
from pathlib import Path

from magicgui.widgets import CheckBox, FileEdit
from qtpy.QtCore import QUrl
from qtpy.QtWidgets import QCheckBox, QFormLayout

from napari_pixelcam.controllers.export import ExportChoices, ExportController
from napari_pixelcam.widgets.choices import Choice, ChoiceButton
from napari_pixelcam.widgets.message import Message
from napari_pixelcam.widgets.section import Section, button, row

_CARRIES = "with who painted, when, on which image and model"
SEEDS = (
    Choice("png", "PNG", f"What fine-tuning reads: 0 none, 1 background, 2 foreground, {_CARRIES}"),
    Choice("npz", "NPZ", "The same as a NumPy archive"),
    Choice("ome-zarr", "OME-Zarr", f"A label image, {_CARRIES}"),
    Choice("geojson", "GeoJSON", f"Annotations for QuPath, {_CARRIES}"),
    Choice("histomics", "HistomicsUI", f"Annotations for HistomicsUI, {_CARRIES}"),
    Choice("coco", "COCO", f"Masks in runs, as pycocotools reads them, {_CARRIES}"),
    Choice("dicom-seg", "DICOM", f"A binary DICOM segmentation, {_CARRIES}; needs the extra dicom"),
)
MAP = (
    Choice(
        "ome-tiff", "OME-TIFF", "Foreground probability as float, with the pixel size, a pyramid where large"
    ),
    Choice("ome-zarr", "OME-Zarr", "The same in chunks, for viewers of OME-Zarr"),
    Choice("npz", "NPZ", "The same as a NumPy archive"),
    Choice("png", "PNG", "The same in 256 grays"),
    Choice("dicom-seg", "DICOM", "DICOM segmentations of map and regions; needs the extra dicom"),
)
REGIONS = (
    Choice("geojson", "GeoJSON", "Outlines at the threshold, as QuPath reads them"),
    Choice("histomics", "HistomicsUI", "Outlines at the threshold, for HistomicsUI"),
    Choice("coco", "COCO", "Masks in runs at the threshold, as pycocotools reads them"),
    Choice("mask", "PNG mask", "255 in the regions at the threshold, 0 elsewhere"),
)


MOST_NAMED = 12
"""Files that are listed by their names."""


class ExportSection(Section):
    """Formats, a folder, and where it all went."""

    def __init__(self, controller: ExportController) -> None:
        super().__init__("5   Export")
        self._controller = controller
        defaults = ExportChoices()
        self.seeds = ChoiceButton(SEEDS, defaults.seeds, "Seeds are written as")
        self.everywhere = QCheckBox("of all images")
        self.everywhere.setToolTip("Your seeds on all images of the project, not on this one alone")
        self.everywhere.hide()
        self.map = ChoiceButton(MAP, defaults.map, "The map is written as")
        self.regions = ChoiceButton(REGIONS, defaults.regions, "Regions are written as")
        self.summary = CheckBox(text="JSON", value=defaults.summary, tooltip="Classes, threshold and area")
        self.folder = FileEdit(mode="d", value=Path.home(), tooltip="Where the files go")
        self.folder.choose_btn.text = "…"
        self.folder.choose_btn.tooltip = "Choose the folder"
        self.folder.choose_btn.max_width = 32
        self.run_button = button("E&xport", "Write the chosen files into the folder (Alt+X)")
        self.status = Message()
        form = QFormLayout()
        form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
        form.addRow("Seeds", row(self.seeds, self.everywhere))
        form.addRow("Map", self.map)
        form.addRow("Regions", self.regions)
        form.addRow("Summary", self.summary.native)
        form.addRow("Folder", self.folder.native)
        self.body.addLayout(form)
        self.body.addWidget(self.run_button)
        self.body.addWidget(self.status)
        self.run_button.clicked.connect(lambda: self._run())
        controller.changed.connect(self._refresh)
        controller.exported.connect(self._on_exported)
        controller.failed.connect(lambda message: self.status.say(message, "error", about=self._asked_for))
        self._refresh()

    @property
    def choices(self) -> ExportChoices:
        """What is ticked."""
        everywhere = self.everywhere.isChecked() and not self.everywhere.isHidden()
        return ExportChoices(
            self.seeds.chosen, self.map.chosen, self.regions.chosen, self.summary.value, everywhere
        )

    def offer_project(self, project: bool) -> None:
        """Let the seeds of a project's images be exported together, where one is open."""
        self.everywhere.setVisible(project)
        self._refresh()

    def _asked_for(self) -> tuple[object, ...]:
        """Return what a message on an export speaks of: the image, and what is to be written where."""
        controller, chosen = self._controller, self.choices
        written = (*chosen.seeds, "", *chosen.map, "", *chosen.regions, chosen.summary, chosen.everywhere)
        at_hand = (*controller.session.map_at_hand(), *controller.seeds.painted())
        return *at_hand, self.folder.value, written, controller.running

    def _run(self) -> None:
        self.status.say("writing…")
        self._controller.run(Path(self.folder.value).expanduser(), self.choices)

    def _refresh(self) -> None:
        there = self._controller.session.record is not None or not self.everywhere.isHidden()
        self.run_button.setEnabled(not self._controller.running and there)

    def _on_exported(self, folder: Path, paths: list[Path]) -> None:
        colour = self.status.link_colour
        link = QUrl.fromLocalFile(str(folder)).toString()
        names = "<br>".join(html.escape(path.name) for path in paths[:MOST_NAMED])
        if len(paths) > MOST_NAMED:
            names += f"<br>and {len(paths) - MOST_NAMED} more"
        count = "1 file" if len(paths) == 1 else f"{len(paths)} files"
        self.status.say(
            f"{count} in <a href='{link}' style='color: {colour}'>{html.escape(str(folder))}</a><br>{names}",
            "good",
            rich=True,
            about=lambda: (self._controller.session.record, self._controller.running),
        )
