"""The page of a project's report: HTML with all its styles and pictures within."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from html import escape

from pixelcam import figures
from pixelcam.localize.localization import ModelRef
from pixelcam.review.agreement import Agreement
from pixelcam.review.entries import STATUSES, ImageEntry
from pixelcam.review.report import Judgement, Outlines, Picture, Report

_STYLE = """
:root { color-scheme: light dark; --text: #1d2129; --faint: #5b6470; --ground: #ffffff; --card: #f4f5f7;
  --line: #d5d9df; --foreground: #e69f00; --background: #0072b2; --done: #009e73; --review: #56b4e9;
  --skipped: #cc79a7; --todo: #b9bfc7; }
@media screen and (prefers-color-scheme: dark) { :root { --text: #e8eaed; --faint: #a3abb5; --ground: #17191d;
  --card: #22252b; --line: #3a3f47; --todo: #5b626c; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem; max-width: 76rem; color: var(--text); background: var(--ground);
  font: .94rem/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { margin: 0; font-size: 1.6rem; }
h2 { margin: 2.2rem 0 .6rem; font-size: 1.15rem; }
h3 { margin: 0; font-size: 1rem; }
p { margin: .2rem 0 .8rem; max-width: 60rem; }
.faint, figcaption, caption { color: var(--faint); font-size: .85rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .8rem .25rem 0; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top; }
th { font-weight: 600; }
th:last-child, td:last-child { padding-right: 0; }
article th, article td { padding-right: .6rem; font-size: .9rem; }
td.number, th.number { text-align: right; white-space: nowrap; }
.bar { display: flex; height: .7rem; width: 12rem; border-radius: .2rem; overflow: hidden;
  background: var(--line); }
.done { background: var(--done); } .in-review { background: var(--review); }
.skipped { background: var(--skipped); } .to-do { background: var(--todo); }
.note { margin: .5rem 0 0; }
.key { display: inline-block; width: .7rem; height: .7rem; border-radius: .15rem; margin: 0 .3rem 0 .9rem; }
.gallery { display: grid; gap: 1rem; align-items: start;
  grid-template-columns: repeat(auto-fill, minmax(min(30rem, 100%), 1fr)); }
article { padding: .9rem; border-radius: .4rem; background: var(--card); break-inside: avoid; }
.pair { display: grid; gap: .7rem; margin: .6rem 0;
  grid-template-columns: repeat(auto-fill, minmax(min(13.5rem, 100%), 1fr)); }
figure { margin: 0; }
svg { display: block; width: 100%; height: auto; max-height: 20rem; background: var(--line); }
path { fill-rule: evenodd; vector-effect: non-scaling-stroke; }
.halo { fill: none; stroke: #000; stroke-opacity: .55; stroke-width: 2.6; }
.region { fill: none; stroke: var(--foreground); stroke-width: 1.3; }
.plus { fill: var(--foreground); background: var(--foreground); }
.minus { fill: var(--background); background: var(--background); }
code { font-size: .85rem; }
@media print { :root { font-size: 11px; color-scheme: light; } body { max-width: none; padding: 0; }
  .wide { overflow: visible; } h2, h2 + p { break-after: avoid; } tr { break-inside: avoid; }
  .halo { stroke-width: 1.6; } .region { stroke-width: .8; }
  .bar, .bar *, .key { print-color-adjust: exact; } }
"""

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_MODEL = "the model"
_COLUMNS = ("Reviewer", "Status", "Class", "Threshold", "Foreground", "Time")
NEAR_CHANCE = 0.1
"""A class that is more probable than chance by less than this is said to be hardly so."""


def render(report: Report) -> str:
    """Return the page; every name and note in it is escaped."""
    parts = [
        f"<h1>{escape(report.name)}</h1>",
        f'<p class="faint">Project report, {report.made:%d %B %Y, %H:%M}. '
        "Research software, not for diagnosis.</p>",
        _progress(report),
        _agreement(report.agreements),
        _areas(report),
        _gallery(report),
        _provenance(report),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(report.name)} · PixelCAM report</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body>\n</html>\n"
    )


def duration(seconds: float) -> str:
    """Return a time as hours, minutes and seconds, to the second."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """Return a table of cells that are HTML already; `numbers` are the columns to set flush right."""
    marks = [' class="number"' if column in numbers else "" for column in range(len(head))]

    def line(cells: Sequence[str], tag: str) -> str:
        return "".join(f"<{tag}{mark}>{cell}</{tag}>" for cell, mark in zip(cells, marks, strict=True))

    body = "".join(f"<tr>{line(row, 'td')}</tr>" for row in rows)
    return f'<div class="wide"><table><tr>{line(head, "th")}</tr>{body}</table></div>'


def _progress(report: Report) -> str:
    keys = "".join(f'<i class="key {_style(name)}"></i>{name}' for name in reversed(STATUSES))
    rows = [_progress_row(name, view) for name, view in report.views.items()]
    head = ("Reviewer", "Progress", *STATUSES, "Relabelled", "With seeds", "Time", "Time an image")
    count = len(report.pictures)
    images = "1 image" if count == 1 else f"{count} images"
    return f'<h2>Progress</h2><p>{images}.<span class="faint">{keys}</span></p>' + _table(
        head, rows, range(2, len(head))
    )


def _progress_row(name: str, view: list[ImageEntry]) -> list[str]:
    counts = Counter(entry.status for entry in view)
    bar = "".join(
        f'<span class="{_style(status)}" style="width: {100 * counts[status] / len(view):.2f}%"></span>'
        for status in reversed(STATUSES)
        if counts[status]
    )
    spent = [entry.seconds for entry in view if entry.seconds]
    relabelled = sum(bool(entry.label) and entry.label != entry.predicted for entry in view)
    painted = sum(bool(entry.foreground or entry.background) for entry in view)
    return [
        escape(name),
        f'<div class="bar" role="img" aria-label="{counts["done"]} of {len(view)} done">{bar}</div>',
        *(str(counts[status]) for status in STATUSES),
        str(relabelled),
        str(painted),
        duration(sum(spent)),
        duration(sum(spent) / len(spent)) if spent else "–",
    ]


def _style(status: str) -> str:
    return status.replace(" ", "-")


def _agreement(found: list[Agreement]) -> str:
    if not found:
        return ""

    def kappa(value: float | None) -> str:
        return "–" if value is None else f"{value:.2f}"

    def share(same: int, of: int) -> str:
        return f"{same} of {of} ({same / of:.0%})" if of else "–"

    rows = [
        (
            " and ".join(escape(name) for name in one.reviewers),
            share(one.same_label, one.images),
            kappa(one.label_kappa),
            share(one.same_pixels, one.pixels),
            kappa(one.seed_kappa),
        )
        for one in found
    ]
    head = ("Reviewers", "Same class", "Cohen’s κ", "Same seed", "Cohen’s κ")
    return (
        "<h2>Agreement</h2><p>On the images that both have given a class, and on the pixels that both have "
        "painted. κ is 1 for full agreement and 0 for that of chance.</p>" + _table(head, rows, (1, 2, 3, 4))
    )


def _areas(report: Report) -> str:
    sums: dict[tuple[str, str], list[Judgement]] = defaultdict(list)
    open_, unseen = 0, 0
    for picture in report.pictures:
        for one in picture.judgements:
            if one.accepted is not None:
                sums[one.reviewer, one.entry.label or ""].append(one)
            elif one.entry.status == "done":
                unseen += one.entry.localized is not None
            else:
                open_ += one.entry.status != "skipped"
    rows = [_area_row(reviewer, label, found) for (reviewer, label), found in sorted(sums.items())]
    head = (
        "Reviewer",
        "Class",
        "Images",
        "Foreground",
        "Area",
        "Pixels",
        "Without a pixel size",
        "Changed since",
    )
    left_out = [
        *([f"{_judgements(open_)} not done yet."] if open_ else []),
        *(
            [f"{_judgements(unseen)} done, but what was seen then was not kept; say Done once more."]
            if unseen
            else []
        ),
    ]
    said = f'<p class="faint">Not counted: {" ".join(left_out)}</p>' if left_out else ""
    if not rows and not said:
        return ""
    return (
        "<h2>Area by class</h2><p>The foreground that each reviewer saw on the screen when saying that an "
        "image is done, at the threshold of that moment. The class is what the reviewer said, never what the "
        "model did. Areas are of the images whose pixel size is known, pixels of all.</p>"
        + (_table(head, rows, range(2, len(head))) if rows else "")
        + said
    )


def _area_row(reviewer: str, label: str, found: list[Judgement]) -> list[str]:
    areas = [one.area for one in found if one.area is not None]
    pixels = sum(one.pixels or 0 for one in found)
    whole = sum(one.entry.width * one.entry.height for one in found)
    changed = sum(bool(one.entry.changed) for one in found)
    unknown = len(found) - len(areas)
    return [
        escape(reviewer),
        escape(label) or "none chosen",
        str(len(found)),
        figures.percent(pixels / whole),
        figures.area(sum(areas)) if areas else "–",
        f"{pixels:,}",
        str(unknown) if unknown else "",
        str(changed) if changed else "",
    ]


def _judgements(count: int) -> str:
    return "1 judgement is" if count == 1 else f"{count} judgements are"


def _gallery(report: Report) -> str:
    if not report.pictures:
        return ""
    return (
        "<h2>Images</h2><p>Contour: the foreground. Filled:"
        '<i class="key plus"></i>painted foreground<i class="key minus"></i>painted background. Before is '
        "the latest model’s map at its own threshold. Accepted is the map that the reviewer saw when saying "
        "that the image is done. So far is, of an image that is not done, the model’s map at the reviewer’s "
        "threshold with the seeds in their place. Where another model came first, its map is shown too.</p>"
        f'<div class="gallery">{"".join(_article(one) for one in report.pictures if one.drawn)}</div>'
        + _further(report)
    )


def _further(report: Report) -> str:
    """List the images of which no pictures are shown."""
    rest = [picture for picture in report.pictures if not picture.drawn]
    if not rest:
        return ""
    rows = [
        [escape(picture.entry.name), *_judgement_row(one)] for picture in rest for one in picture.judgements
    ]
    idle = sum(not picture.judgements for picture in rest)
    said = f"{len(rest)} more images, without pictures" + (
        f"; {idle} of them nobody has begun" if idle else ""
    )
    table = _table(("Image", *_COLUMNS), rows, (4, 6)) if rows else ""
    return f"<h3>Further images</h3><p>{said}.</p>{table}"


def _article(picture: Picture) -> str:
    entry = picture.entry
    size = f"{entry.width} × {entry.height} pixels"
    size += "" if entry.mpp is None else f", {entry.mpp:.4g} µm each"
    said = "not localized"
    if entry.predicted is not None and entry.confidence is not None and entry.model is not None:
        doubt = "" if entry.uncertainty is None else f", uncertainty {entry.uncertainty:.3f}"
        strange = "" if entry.familiarity is None else f", familiarity {entry.familiarity:.0%}"
        strange += ": unlike its training images" if entry.unfamiliar else ""
        said = f"{_MODEL} says {entry.predicted} ({entry.confidence:.0%}{_chance(entry)}{doubt}{strange})"
    drawn = [_figure(picture, picture.before, "before", define=True)]
    if picture.first is not None:
        outlines, model = picture.first
        now = "" if entry.model is None else f" by {entry.model.name}"
        drawn = [
            _figure(picture, outlines, f"first, by {model}", define=True),
            _figure(picture, picture.before, f"before{now}"),
        ]
    drawn += [
        _figure(picture, one.after, f"{_kind(one)} {one.reviewer}")
        for one in picture.judgements
        if one.after is not None
    ]
    rows = [_judgement_row(one) for one in picture.judgements]
    table = _table(_COLUMNS, rows, (3, 5)) if rows else '<p class="faint">Nobody has begun it.</p>'
    notes = "".join(
        f'<p class="note"><span class="faint">{escape(one.reviewer)}:</span> {escape(one.entry.note)}</p>'
        for one in picture.judgements
        if one.entry.note
    )
    return (
        f'<article><h3>{escape(entry.name)}</h3><div class="faint">{escape(size)}; {escape(said)}</div>'
        f'<div class="pair">{"".join(drawn)}</div>{table}{notes}</article>'
    )


def _judgement_row(one: Judgement) -> list[str]:
    entry = one.entry
    changed = f", {entry.changed} changed since" if entry.changed else ""
    return [
        escape(one.reviewer),
        escape(entry.status + changed),
        escape(entry.label or "") or "–",
        "–" if one.threshold is None else f"{one.threshold:.3g}",
        escape(_foreground(one)),
        duration(entry.seconds) if entry.seconds else "–",
    ]


def _kind(one: Judgement) -> str:
    """Say what is drawn of a judgement."""
    if one.accepted is not None:
        return "accepted by"
    return "as computed anew for" if one.entry.status == "done" else "so far by"


def _foreground(one: Judgement) -> str:
    """Say how much is foreground, and how that figure came about."""
    if one.fraction is None or one.pixels is None:
        return "–"
    said = figures.foreground_figures(one.fraction, one.area)
    if one.area is None:
        said += f", {one.pixels:,} pixels (no pixel size)"
    if one.accepted is not None:
        return f"{said}, {one.accepted.origin}"
    if one.entry.status == "done":
        return f"{said}, computed anew from the model’s map and the seeds: what was seen was not kept"
    return f"{said} so far, the model’s map with the seeds in their place"


def _chance(entry: ImageEntry) -> str:
    """Say what chance alone would give, and whether the model is no surer than that."""
    if len(entry.classes) < 2 or entry.confidence is None:
        return ""
    several = abs(sum(entry.classes.values()) - 1) > 0.01  # each class has a probability of its own
    chance = 0.5 if several else 1 / len(entry.classes)
    near = entry.confidence < chance + NEAR_CHANCE
    return f", hardly more than the {chance:.0%} of chance" if near else f", chance is {chance:.0%}"


def _figure(picture: Picture, outlines: Outlines | None, caption: str, *, define: bool = False) -> str:
    height, width = picture.size
    name = f"image-{picture.entry.id}"
    image = f'<use href="#{name}"/>'
    if define:
        source = f'href="data:image/jpeg;base64,{picture.thumbnail}"' if picture.thumbnail else ""
        image = f'<image id="{name}" width="{width}" height="{height}" preserveAspectRatio="none" {source}/>'
    paths = ""
    if outlines is not None:
        paths = (
            f'<path class="minus" d="{outlines.background}"/><path class="plus" d="{outlines.foreground}"/>'
            f'<path class="halo" d="{outlines.region}"/><path class="region" d="{outlines.region}"/>'
        )
    text = escape(caption if outlines is not None else "no map")
    title = escape(f"{picture.entry.name}, {caption}")
    return (
        f'<figure><svg viewBox="0 0 {width} {height}" role="img" aria-label="{title}">{image}{paths}</svg>'
        f"<figcaption>{text}</figcaption></figure>"
    )


def _provenance(report: Report) -> str:
    return f"<h2>Provenance</h2>{_models(report)}{_runs(report)}"


def _models(report: Report) -> str:
    if not report.models:
        return "<p>No model was used.</p>"
    used = Counter(one.entry.model for one in report.pictures)
    rows = [
        (
            escape(model.name),
            f"<code>{escape(model.sha256)}</code>",
            _counted(used, model.sha256),
            f"{model.first_used:%Y-%m-%d %H:%M}",
        )
        for model in report.models
    ]
    return _table(("Model", "SHA-256 of its file", "Latest maps", "First used"), rows, (2,))


def _counted(used: Counter[ModelRef | None], sha256: str) -> str:
    """Say how many maps a model made, and how many of them from several views."""
    counts = {one.views: count for one, count in used.items() if one is not None and one.sha256 == sha256}
    several = [f"{count} from {views} views" for views, count in sorted(counts.items()) if views > 1]
    return " ".join([str(sum(counts.values())), *(f"({each})" for each in several)])


def _runs(report: Report) -> str:
    if not report.runs:
        return ""
    rows = [
        (
            escape(run.folder.name),
            escape(run.kind),
            escape(run.reviewer),
            f"<code>{escape(run.model)}</code>",
            f"{run.time:%Y-%m-%d %H:%M}",
        )
        for run in report.runs
    ]
    head = ("Training run", "Kind", "By", "Model, SHA-256 of its file", "Noted")
    return f"<p></p>{_table(head, rows)}"
