"""Which key does what, for the parts of the dock that act on seeds, views and the model."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from napari_pixelcam.controllers.comparison import STEP, ComparisonController
from napari_pixelcam.controllers.localize import LocalizeController
from napari_pixelcam.controllers.refine import RefineController
from napari_pixelcam.controllers.seedstate import KEYS
from napari_pixelcam.controllers.session import ImageRecord
from napari_pixelcam.controllers.tools import ToolsController
from napari_pixelcam.controllers.uncertain import UncertainController
from napari_pixelcam.controllers.views import ViewsController
from napari_pixelcam.keys import HELP, JUDGE, NAVIGATE, SEEDS, VIEW, Keys
from napari_pixelcam.seedfiles import CANNOT_TELL

if TYPE_CHECKING:
    from napari_pixelcam.controllers.workbench import WorkbenchController
    from napari_pixelcam.widgets.worklist import WorkListSection


def bind_seeds(keys: Keys, tools: ToolsController) -> None:
    """Bind the brushes, the tools, and what undoes them."""
    seeds = tools.seeds
    keys.add(
        "foreground", KEYS["foreground"], SEEDS, "Paint foreground", partial(tools.take_kind, "foreground")
    )
    keys.add(
        "background", KEYS["background"], SEEDS, "Paint background", partial(tools.take_kind, "background")
    )
    keys.add("eraser", KEYS["eraser"], SEEDS, "Erase seeds", partial(tools.take_kind, "eraser"))
    keys.add("lasso", "A", SEEDS, "Lasso: paint the map's region inside a line", partial(tools.take, "lasso"))
    keys.add("region", "W", SEEDS, "Accept the whole region under the pointer", tools.accept_under_pointer)
    keys.add("region tool", "Shift+W", SEEDS, "Accept regions by clicking", partial(tools.take, "region"))

    def put_away() -> None:
        tools.put_away()
        seeds.put_away()

    keys.add("put away", "Q", SEEDS, "Put brush or tool away", put_away)
    keys.add("smaller", "[", SEEDS, "Smaller brush", lambda: seeds.set_brush_size(seeds.brush_size - 1))
    keys.add("larger", "]", SEEDS, "Larger brush", lambda: seeds.set_brush_size(seeds.brush_size + 1))
    keys.add("half", "Ctrl+[", SEEDS, "Half the brush", lambda: seeds.set_brush_size(seeds.brush_size // 2))
    keys.add("double", "Ctrl+]", SEEDS, "Twice the brush", lambda: seeds.set_brush_size(seeds.brush_size * 2))
    keys.add("undo", "Ctrl+Z", SEEDS, "Undo", seeds.undo)
    keys.add("redo", "Ctrl+Shift+Z", SEEDS, "Redo", seeds.redo)
    keys.add("propose", "Shift+P", SEEDS, "Propose seeds where the map is sure", seeds.propose)
    keys.add("clear", "Shift+E", SEEDS, "Clear all seeds of the image", tools.clear)

    def on_seeds(record: ImageRecord) -> None:
        if record.seeds is not None:  # napari's own keys of these would act on the brush, not on the tool
            keys.bind_layer(record.seeds, ("eraser", "undo", "redo"))

    tools.session.seeds_changed.connect(on_seeds)


def bind_views(keys: Keys, views: ViewsController, comparison: ComparisonController) -> None:
    """Bind what changes how the maps are looked at."""

    def toggle() -> None:
        comparison.end()
        views.toggle()

    def next_view() -> None:
        comparison.end()
        views.next_view()

    keys.add("overlay", "T", VIEW, "Maps on or off", toggle)
    keys.add("fainter", "9", VIEW, "Maps more see-through", partial(views.change_opacity, -1))
    keys.add("stronger", "0", VIEW, "Maps less see-through", partial(views.change_opacity, 1))

    def outline() -> None:
        comparison.end()
        views.outline()

    keys.add("view", "G", VIEW, "Next view: foreground, two colours, outline, background", next_view)
    keys.add("outline", "Shift+G", VIEW, "Outline of the region alone, or back", outline)
    keys.add("threshold down", ",", VIEW, "Threshold down by 0.01", partial(views.change_threshold, -0.01))
    keys.add("threshold up", ".", VIEW, "Threshold up by 0.01", partial(views.change_threshold, 0.01))
    keys.add(
        "blink",
        "H",
        VIEW,
        "Hold: the map before this one",
        partial(comparison.blink, True),
        release=partial(comparison.blink, False),
    )
    keys.add("swipe", "J", VIEW, "Swipe: before | now, image | map, off", comparison.next_swipe)
    keys.add(
        "divider left",
        "Shift+Left",
        VIEW,
        "Divider left; with Shift it follows the pointer",
        partial(comparison.move_divider, -STEP),
    )
    keys.add("divider right", "Shift+Right", VIEW, "Divider right", partial(comparison.move_divider, STEP))


def bind_list(keys: Keys, section: WorkListSection, workbench: WorkbenchController) -> None:
    """Bind the way through a project's list, and what is said of each image."""
    keys.add("next", "N", NAVIGATE, "Next image of the list", partial(workbench.step, 1))
    keys.add("previous", "Shift+N", NAVIGATE, "Previous image", partial(workbench.step, -1))
    keys.add("open project", "Shift+O", NAVIGATE, "Open a project", section.ask_open)
    keys.add("localize all", "Shift+A", NAVIGATE, "Localize all images of the list", workbench.localize_all)
    keys.add("done", "Shift+D", JUDGE, "Image done, next", partial(workbench.set_status, "done", then=1))
    keys.add("skip", "Shift+S", JUDGE, "Skip image, next", partial(workbench.set_status, "skipped", then=1))
    keys.add("note", "Shift+T", JUDGE, "Write a note", section.edit_note)
    keys.add("history", "Shift+H", JUDGE, "History of the image's seeds", section.show_history)


def bind_uncertain(keys: Keys, uncertain: UncertainController) -> None:
    """Bind the way through the areas of an image where the map is not sure."""
    keys.add("next uncertain", "U", NAVIGATE, "Next most uncertain area of the image", uncertain.next)
    keys.add("previous uncertain", "Shift+U", NAVIGATE, "Previous uncertain area", uncertain.previous)


def bind_labels(keys: Keys, tools: ToolsController) -> None:
    """Bind what the reviewer says of the image's class."""
    seeds, session = tools.seeds, tools.session

    def say(choose: str) -> None:
        record = session.record
        if record is None or record.result is None:
            text = "Localize the image first, to judge what the model calls it."
            session.notified.emit("info", text, session.map_at_hand)
            return
        localization = record.result.localization
        if choose == "agree":
            seeds.correct_label(localization.predicted)
        elif choose == "cannot tell":
            seeds.correct_label(CANNOT_TELL)
        else:
            names = list(localization.classes)
            now = record.corrected_label
            at = names.index(now) if now in names else names.index(localization.predicted)
            seeds.correct_label(names[(at + 1) % len(names)])

    keys.add("agree", "K", JUDGE, "Agree with the model's class", partial(say, "agree"))
    keys.add("next class", "I", JUDGE, "It is the next class", partial(say, "next"))
    keys.add("cannot tell", "Shift+K", JUDGE, "Cannot tell the class", partial(say, "cannot tell"))


def bind_model(keys: Keys, localize: LocalizeController, refine: RefineController) -> None:
    """Bind what runs the model, and the way back to its own map."""
    keys.add("localize", "Shift+L", HELP, "Localize the image", localize.run)
    keys.add("model's map", "R", HELP, "The model's own map, or the refitted one", refine.switch)
