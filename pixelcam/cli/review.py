"""`pixelcam review`: projects in which reviewers judge and correct lists of images."""

from __future__ import annotations

import getpass
import importlib
import importlib.util
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pixelcam.cli import options
from pixelcam.cli.console import print_error, print_json, print_note, print_result, print_table, show_progress
from pixelcam.cli.failures import describe
from pixelcam.cli.inputs import gather_images
from pixelcam.cli.outputs import prepare_folder
from pixelcam.cli.review_report import report
from pixelcam.errors import CancelledError, ConfigError, ImageError, PixelCAMError, ProjectError
from pixelcam.events import Event

if TYPE_CHECKING:
    from pixelcam.events import EventSink
    from pixelcam.review import ImageEntry, MergeReport, Project

app = typer.Typer(
    help="Projects of reviewers: make, open, list, localize, merge, export, look back.", no_args_is_help=True
)
NEEDS_WINDOW = (
    "A project opens in a napari window, for which {} is missing; "
    "run `pip install --upgrade '.[all]'` in the project's folder."
)


def _account() -> str:
    """Return the name of whoever is logged in."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # no user database, as in some containers
        return "reviewer"


Folder = Annotated[Path, typer.Argument(help="The project's folder.", metavar="FOLDER")]
Reviewer = Annotated[
    str,
    typer.Option(default_factory=_account, help="The name to work under; that of your account by default."),
]
ImageName = Annotated[str, typer.Argument(help="The image's name, file or number.", metavar="IMAGE")]


@app.command()
def new(
    folder: Folder,
    images: Annotated[list[Path], typer.Argument(help="Image files, or folders of images.", metavar="IMAGE")],
    reviewer: Reviewer,
    name: Annotated[str, typer.Option(help="What the project is called; as its folder by default.")] = "",
    series: options.Series = None,
) -> None:
    """Make a project of images, which stay where they are; an existing one gets those it lacks."""
    from pixelcam.review import Project, is_project

    paths = gather_images(images, print_error)
    known = is_project(folder)
    if known and name:
        raise ConfigError(f"{folder} holds a project already, which keeps its name; leave --name out.")
    failed: list[str] = []
    with (
        Project.open(folder, reviewer=reviewer)
        if known
        else Project.create(folder, reviewer=reviewer, name=name)
    ) as project:
        before = len(project.images())
        with show_progress() as sink:
            _add(project, paths, series, sink, failed)
        print_note(f"{len(project.images()) - before} images added to {project.folder}.")
    for sentence in failed:
        print_error(sentence)
    if failed:
        raise typer.Exit(1)


def _add(project: Project, paths: list[Path], series: int | None, sink: EventSink, failed: list[str]) -> None:
    """Add images, and note each that fails."""

    def note(event: Event) -> None:
        if event.kind == "warning":
            failed.append(event.message)
        else:
            sink(event)

    try:
        project.add_images(paths, note, series=series)
    except ImageError:
        if not failed:
            raise


@app.command("open")
def open_(
    folder: Folder,
    reviewer: Annotated[
        str, typer.Option(help="The name to work under; that of your account by default.")
    ] = "",
    read_only: Annotated[bool, typer.Option("--read-only", help="Only look at it.")] = False,
) -> None:
    """Open a project in napari."""
    from pixelcam.review import is_project

    if not is_project(folder):
        raise ProjectError(
            f"{folder} holds no project; make one with `pixelcam review new {folder} IMAGE...`."
        )
    if importlib.util.find_spec("napari") is None:
        raise PixelCAMError(NEEDS_WINDOW.format("napari"))
    if not any(importlib.util.find_spec(name) for name in ("PyQt6", "PySide6")):
        raise PixelCAMError(NEEDS_WINDOW.format("a Qt binding (PyQt6 or PySide6)"))
    # Not an import statement: this package knows nothing of the plugin but its name.
    code = importlib.import_module("napari_pixelcam.workbench").open_project(
        folder, reviewer, read_only=read_only
    )
    if code:
        raise typer.Exit(int(code))


@app.command("list")
def list_(
    folder: Folder,
    reviewer: Annotated[
        str, typer.Option(help="Whose view; yours where you have worked in it, or that of who has alone.")
    ] = "",
    as_json: options.AsJson = False,
) -> None:
    """List the images of a project as a reviewer sees them."""
    with _looking_at(folder, reviewer or _account()) as project:
        entries = project.images_of(_whose(project, asked=bool(reviewer)))
    if as_json:
        print_json([_document(entry) for entry in entries])
        return
    columns = ("image", "status", "label", "predicted", "foreground", "background", "path")
    shown = len(columns) - sys.stdout.isatty()  # a path would push the rest together; --json tells it
    print_table(columns[:shown], [_row(entry)[:shown] for entry in entries])


@app.command()
def localize(
    folder: Folder,
    reviewer: Reviewer,
    model: options.Model = "starter",
    device: options.Device = "auto",
    views: options.Views = 1,
    again: Annotated[bool, typer.Option("--again", help="Also those that have a map already.")] = False,
) -> None:
    """Localize the images of a project that have no map yet.

    An image that fails does not stop the others; those that are done are kept.
    """
    from pixelcam.review import Project

    failed = []
    with Project.open(folder, reviewer=reviewer) as project, show_progress() as sink:
        waiting = [entry for entry in project.images() if again or project.localization(entry.id) is None]
        import pixelcam

        localizer = pixelcam.load(model, device, views=views) if waiting else None
        for number, entry in enumerate(waiting, start=1):
            assert localizer is not None
            try:
                _localize_one(project, entry, localizer, sink)
            except CancelledError:
                raise
            except (ImageError, MemoryError) as error:
                failed.append(f"{entry.name}: {describe(error)}")
            sink(Event("step", "images", step=number, total=len(waiting)))
        print_note(f"{len(waiting) - len(failed)} images localized.")
    for sentence in failed:
        print_error(sentence)
    if failed:
        raise typer.Exit(1)


def _localize_one(project: Project, entry: ImageEntry, localizer: Any, sink: EventSink) -> None:
    from dataclasses import replace

    from pixelcam.localize.uncertainty import map_uncertainty

    slide = replace(project.slide(entry.id), name=entry.name)
    found = localizer.localize(slide, on_event=sink)
    threshold = found.threshold if entry.threshold is None else entry.threshold
    project.keep_localization(entry.id, found, map_uncertainty(found.foreground, threshold))


@app.command()
def history(folder: Folder, image: ImageName, as_json: options.AsJson = False) -> None:
    """List every edit of an image's seeds: number, time, who, what, and the pixels after it."""
    with _looking_at(folder, "looker") as project:
        saves = project.history(_find(project, image).id)
    if as_json:
        print_json([{**asdict(save), "time": save.time.isoformat()} for save in saves])
        return
    if not saves:
        print_note(f"No seeds were painted on {image} yet.")
        return
    print_table(
        ("number", "time", "reviewer", "what", "foreground", "background"),
        [
            (
                str(save.seq),
                f"{save.time:%Y-%m-%d %H:%M:%S}",
                save.reviewer,
                save.kind,
                str(save.foreground),
                str(save.background),
            )
            for save in saves
        ],
    )


@app.command()
def restore(
    folder: Folder,
    image: ImageName,
    number: Annotated[int, typer.Argument(help="The edit to go back to, as `history` numbers it.")],
    reviewer: Reviewer,
) -> None:
    """Make your seeds of an image those after an earlier edit; this is a new edit, and nothing is lost."""
    from pixelcam.review import Project

    with Project.open(folder, reviewer=reviewer) as project:
        save = project.restore(_find(project, image).id, number)
    print_note(f"Restored: {save.foreground} foreground and {save.background} background pixels.")


@app.command()
def merge(
    out: Annotated[Path, typer.Argument(help="The merged project; made where there is none.", metavar="OUT")],
    folders: Annotated[list[Path], typer.Argument(help="The projects to merge.", metavar="FOLDER")],
    reviewer: Reviewer,
    as_json: options.AsJson = False,
) -> None:
    """Merge projects of several reviewers; what they see differently is listed, and nothing overwritten.

    Leaves OUT/agreement/*.png, maps of where two reviewers have labelled the same pixels alike or not.
    """
    from pixelcam.review.merging import merge

    found = merge(out, folders, reviewer=reviewer)
    if as_json:
        print_json(_merge_document(found))
    else:
        _tell_merge(found)


@app.command()
def export(
    folder: Folder,
    out: options.OutFolder,
    reviewer: Reviewer,
    formats: Annotated[
        list[str] | None,
        typer.Option("--format", help="png (the default), npz, geojson, ...; several times for several."),
    ] = None,
    everyone: Annotated[
        bool, typer.Option("--everyone", help="The seeds of all reviewers, a folder each.")
    ] = False,
    results: Annotated[bool, typer.Option("--results", help="The maps and regions too.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Write a reviewer's seeds as `pixelcam finetune --seeds OUT` reads them, or in other formats."""
    from pixelcam.review.exporting import export_project

    with _looking_at(folder, reviewer) as project, show_progress() as sink:
        if not everyone and project.reviewer not in project.reviewers():
            names = ", ".join(project.reviewers())
            if not names:
                raise ProjectError(f"There is nothing to export: nobody has worked in {folder} yet.")
            raise ProjectError(
                f"Nobody called {reviewer!r} has worked in {folder}; name one of {names} with --reviewer, "
                "or use --everyone."
            )
        prepare_folder(out)
        everybody = project.reviewers() if everyone else None
        files = export_project(
            project, out, formats or ["png"], reviewers=everybody, results=results, on_event=sink
        )
    if not files:
        raise ProjectError(f"{folder} holds nothing to export as asked; paint seeds or localize first.")
    if as_json:
        print_json({"files": [str(path) for path in files]})
    else:
        for path in files:
            print_note(str(path))


@app.command()
def relink(
    folder: Folder,
    place: Annotated[Path, typer.Argument(help="A folder in or below which the images are now.")],
    reviewer: Reviewer,
) -> None:
    """Find the images of a project that have moved; each is known by its bytes."""
    from pixelcam.review import Project

    lost = []
    with Project.open(folder, reviewer=reviewer) as project:
        for entry in project.images():
            try:
                project.locate(entry.id)
            except ImageError:
                try:
                    print_note(f"{entry.name}: {project.relink(entry.id, place).path}")
                except ImageError as error:
                    lost.append(describe(error))
    for sentence in lost:
        print_error(sentence)
    if lost:
        raise typer.Exit(1)


@app.command()
def rescue(folder: Folder) -> None:
    """Save what can be read of a project with a damaged database; the damaged file is kept."""
    from pixelcam.review.rescuing import rescue

    print_result(str(rescue(folder)))


app.command()(report)


def _looking_at(folder: Path, reviewer: str) -> Project:
    from pixelcam.review import Project

    project = Project.open(folder, reviewer=reviewer, read_only=True)
    if project.warning:
        print_error(project.warning)
    return project


def _whose(project: Project, asked: bool) -> str:
    """Return whose view is listed: of who was asked for, of the account, or of who has worked in it alone."""
    names = project.reviewers()
    if project.reviewer in names or not names:
        return project.reviewer
    if asked:
        raise ProjectError(
            f"Nobody called {project.reviewer!r} has worked in {project.folder}; name one of "
            f"{', '.join(names)} with --reviewer."
        )
    if len(names) > 1:
        print_note(f"{', '.join(names)} have worked in it; --reviewer NAME shows what one of them has done.")
        return project.reviewer
    print_note(f"As {names[0]} sees them.")
    return names[0]


def _find(project: Project, image: str) -> ImageEntry:
    """Return the image that a name, file or number means."""
    entries = project.images()
    by_number = [entry for entry in entries if image.isdecimal() and entry.id == int(image)]
    path = Path(image).absolute()
    found = [entry for entry in entries if image in (entry.name, entry.path.name) or entry.path == path]
    if len(found or by_number) == 1:
        return (found or by_number)[0]
    if found:
        numbers = ", ".join(str(entry.id) for entry in found)
        raise ProjectError(f"Several images are called {image}; give one of the numbers {numbers}.")
    raise ProjectError(
        f"The project {project.folder} holds no image {image!r}; `pixelcam review list` lists them."
    )


def _document(entry: ImageEntry) -> dict[str, Any]:
    values = asdict(entry)
    values |= {"path": str(entry.path), "predicted": entry.predicted, "confidence": entry.confidence}
    values["localized"] = None if entry.localized is None else entry.localized.isoformat(timespec="seconds")
    return values


def _row(entry: ImageEntry) -> tuple[str, ...]:
    predicted = "" if entry.predicted is None else f"{entry.predicted} ({entry.confidence:.0%})"
    counts = (str(entry.foreground), str(entry.background))
    return (entry.name, entry.status, entry.label or "", predicted, *counts, str(entry.path))


def _merge_document(found: MergeReport) -> dict[str, Any]:
    return {
        "folder": str(found.folder),
        "images": found.images,
        "reviewers": found.reviewers,
        "renamed": [
            {"folder": str(folder), "from": there, "to": here} for folder, there, here in found.renamed
        ],
        "conflicts": [asdict(conflict) for conflict in found.conflicts],
        "agreement": [asdict(each) for each in found.agreements],
        "maps": [str(path) for path in found.maps],
    }


def _tell_merge(found: MergeReport) -> None:
    """Print what people must know of a merge, terminal or not: above all the conflicts."""
    print_note(f"{found.folder}: {found.images} images, seen by {', '.join(found.reviewers)}.")
    for folder, there, here in found.renamed:
        print_result(f"{there} of {folder} is kept as {here}: {there} has done the same images differently.")
    for each in found.agreements:
        labels = f"{each.same_label} of {each.images} images alike (kappa {_figure(each.label_kappa)})"
        pixels = f"{each.same_pixels} of {each.pixels} pixels alike (kappa {_figure(each.seed_kappa)})"
        print_result(f"{' and '.join(each.reviewers)}: {labels}, {pixels}")
    for conflict in found.conflicts:
        said = "; ".join(
            f"{who}: {what}" for who, what in zip(conflict.reviewers, conflict.values, strict=True)
        )
        print_result(f"{conflict.image}: {conflict.what} differs ({said})")


def _figure(kappa: float | None) -> str:
    return "not defined" if kappa is None else f"{kappa:.2f}"
