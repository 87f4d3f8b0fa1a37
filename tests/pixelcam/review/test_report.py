"""The report tells what the project holds, in one page that asks for nothing else."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from pixelcam.errors import OutputError
from pixelcam.localize import Localization, ModelRef
from pixelcam.review import Project, merge
from pixelcam.review.firstmap import keep_first_map
from pixelcam.review.report import OVERLAY, corrected_region, gather, write_report
from pixelcam.review.report_page import duration
from pixelcam.seeds.grid import SeedGrid

VOID = {"meta", "image", "use", "path", "br"}


class Page(HTMLParser):
    """A strict reader: every tag is closed, and what would load something is listed."""

    def __init__(self, html):
        super().__init__()
        self.open, self.text, self.loads, self.tags = [], [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.loads += [
            value for name, value in attributes if name in ("href", "src", "srcset", "action", "data")
        ]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text.append(data)


def page_of(project, tmp_path):
    return Page(write_report(project, tmp_path / "report.html").read_text(encoding="utf-8"))


def localized(entry, **changes):
    foreground = np.zeros((entry.height, entry.width), np.float32)
    foreground[: entry.height // 2] = 0.9
    values = Localization(
        entry.name,
        entry.width,
        entry.height,
        entry.mpp,
        {"benign": 0.25, "malignant": 0.75},
        foreground,
        0.5,
        ModelRef("starter", "ab" * 32),
    )
    return replace(values, **changes)


@pytest.fixture
def reviewed(project, folder):
    """Ann and Ben have both judged the first image; the second was not begun."""
    entry = project.images()[0]
    project.keep_localization(entry.id, localized(entry), 0.123)
    project.set_status(entry.id, "done")
    project.set_label(entry.id, "benign")
    project.set_note(entry.id, "fold & <b>tear</b>")
    project.add_seconds(entry.id, 75)
    labels = np.zeros((entry.height, entry.width), np.uint8)
    labels[:10], labels[40:50] = 1, 2
    project.write_changes(entry.id, labels)
    with Project.open(folder, reviewer="Ben <script>") as other:
        other.set_label(entry.id, "malignant")
        other.set_threshold(entry.id, 0.95)
        other.write_changes(entry.id, np.where(labels == 1, 2, labels))
    return project


def test_the_page_is_whole_and_loads_nothing(reviewed, tmp_path):
    page = page_of(reviewed, tmp_path)
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert page.loads
    assert all(load.startswith(("data:image/jpeg;base64,", "#image-")) for load in page.loads)
    html = (tmp_path / "report.html").read_text()
    assert "default-src 'none'" in html
    assert not re.search(r"https?://|@import|url\(", html)
    assert "prefers-color-scheme: dark" in html


def test_names_and_notes_are_text(reviewed, tmp_path):
    text = page_of(reviewed, tmp_path).text
    assert "Ben <script>" in text
    assert " fold & <b>tear</b>" in text


def test_it_tells_who_did_what(reviewed, tmp_path):
    text = page_of(reviewed, tmp_path).text
    assert "Colon" in text
    assert "1 min 15 s" in text
    assert "the model says malignant" not in text
    assert any("the model says malignant (75%, chance is 50%, uncertainty 0.123)" in part for part in text)
    assert "Ann and Ben <script>" in text
    assert "0 of 1 (0%)" in text
    assert "ab" * 32 in text
    assert "Nobody has begun it." in text


def test_areas_are_those_of_the_corrected_region_at_the_reviewers_threshold(reviewed, monkeypatch):
    monkeypatch.setattr(
        Project,
        "images_of",
        lambda self, name, old=Project.images_of: [replace(e, mpp=2.0) for e in old(self, name)],
    )
    entry = reviewed.images()[0]
    judgements = {one.reviewer: one for one in gather(reviewed).pictures[0].judgements}
    row = entry.width * 4e-6  # of pixels of 2 x 2 micrometres, in mm2
    assert judgements["Ann"].area == pytest.approx(row * (entry.height // 2 - 10 + 10))
    assert judgements["Ann"].accepted is None, "what was seen was not kept"
    assert judgements["Ben <script>"].area == pytest.approx(row * (10 + 10))
    assert judgements["Ben <script>"].threshold == 0.95


def test_contours_are_before_by_the_model_and_after_with_the_seeds(reviewed):
    picture = gather(reviewed).pictures[0]
    height, width = picture.size
    assert (height, width) == (60, 80)
    assert picture.before.region == f"M0 0L{width} 0L{width} 30L0 30Z"
    after = picture.judgements[0].after
    assert after.background == f"M0 0L{width} 0L{width} 10L0 10Z"
    assert after.foreground == f"M0 40L{width} 40L{width} 50L0 50Z"
    assert after.region == f"M0 10L{width} 10L{width} 30L0 30Z" + after.foreground


def later(project):
    """Localize the first image once more, with another model that sees another region."""
    entry = project.images()[0]
    foreground = np.zeros((entry.height, entry.width), np.float32)
    foreground[:12] = 0.9
    project.keep_localization(
        entry.id, localized(entry, foreground=foreground, model=ModelRef("tuned <i>", "cd" * 32)), 0.1
    )
    return entry.id


def test_the_first_models_map_is_shown_beside_that_of_a_later_model(reviewed, tmp_path):
    assert gather(reviewed).pictures[0].first is None, "there is no other model yet"
    later(reviewed)
    picture = gather(reviewed).pictures[0]
    assert picture.before.region == "M0 0L80 0L80 12L0 12Z"
    outlines, model = picture.first
    assert (outlines.region, model) == ("M0 0L80 0L80 30L0 30Z", "starter")
    text = page_of(reviewed, tmp_path).text
    assert "first, by starter" in text
    assert "before by tuned <i>" in text


def test_maps_from_several_views_are_counted_beside_the_others(reviewed, tmp_path):
    assert "from 4 views" not in page_of(reviewed, tmp_path).text
    entry = reviewed.images()[0]
    found = localized(entry)
    reviewed.keep_localization(entry.id, replace(found, model=replace(found.model, views=4)), 0.1)
    assert gather(reviewed).pictures[0].first is None, "the model is the same"
    maps = sum(each.localized is not None for each in reviewed.images())
    assert f"{maps} (1 from 4 views)" in page_of(reviewed, tmp_path).text


def test_the_first_map_of_a_large_image_is_small_and_covers_all_of_it(project, image, folder):
    project.keep_localization(image, localized(project.image(image)), 0.1)
    first = project.first_map(image)
    assert first.foreground.shape == (320, 274)
    assert first.threshold == 0.5
    np.testing.assert_allclose(first.foreground[[0, 158, 161, -1], 0], [0.9, 0.9, 0, 0], atol=0.002)
    assert (folder / "images" / str(image) / "first-map.png").stat().st_size < 5000


def test_a_first_map_that_is_gone_or_of_another_localization_is_not_shown(reviewed, folder):
    id = later(reviewed)
    path = folder / "images" / str(id) / "first-map.png"
    keep_first_map(path, np.ones((60, 80), np.float32), "another")
    assert reviewed.first_map(id) is None
    path.unlink()
    assert reviewed.first_map(id) is None
    assert gather(reviewed).pictures[0].first is None


def test_a_first_map_goes_along_into_a_merged_project(reviewed, folder, tmp_path):
    id = later(reviewed)
    before = reviewed.first_map(id)
    reviewed.close()
    merge(tmp_path / "merged", [folder], reviewer="Ann")
    with Project.open(tmp_path / "merged", reviewer="Ann") as merged:
        np.testing.assert_array_equal(merged.first_map(id).foreground, before.foreground)


def test_a_single_painted_pixel_is_seen_on_a_large_image(project, image):
    project.keep_localization(image, localized(project.image(image)), 0.1)
    project.write_seeds(image, (699, 599, 700, 600), np.full((1, 1), 2, np.uint8))
    picture = gather(project).pictures[1]
    height, width = picture.size
    assert max(picture.size) == 320
    outline = f"M{width - 1} {height - 1}L{width} {height - 1}L{width} {height}L{width - 1} {height}Z"
    assert picture.judgements[0].after.foreground == outline


def test_specks_of_a_large_map_are_not_drawn_as_large_as_glands(project, image):
    entry = project.image(image)
    foreground = np.zeros((entry.height, entry.width), np.float32)
    foreground[350:] = 0.9
    foreground[1:340:3, 1::3] = 0.9  # a ninth of the other half
    project.keep_localization(image, localized(entry, foreground=foreground), 0.1)
    picture = gather(project).pictures[1]
    assert picture.size == (OVERLAY, 274)
    assert picture.before.region == "M0 160L274 160L274 320L0 320Z"


def test_seeds_of_another_grid_land_on_the_map(project):
    entry = replace(project.images()[0], width=8, height=8)
    result = localized(entry, foreground=np.zeros((2, 2), np.float32), scale=(4.0, 4.0), translate=(1.5, 1.5))
    seeds = np.zeros((4, 4), np.uint8)
    seeds[:2, 2:], seeds[2:, 2:] = 2, 1
    region = corrected_region(np.ones((2, 2), bool), result, seeds, SeedGrid(1, (4, 4), (2.0, 2.0)))
    np.testing.assert_array_equal(region, [[True, True], [True, False]])


def test_an_untouched_project_and_lost_images_make_a_page_too(folder, pictures, tmp_path):
    for picture in pictures:
        picture.unlink()
    for thumbnail in folder.rglob("thumbnail.png"):
        thumbnail.unlink()
    with Project.open(folder, reviewer="report", read_only=True) as project:
        text = page_of(project, tmp_path).text
    assert "Agreement" not in text
    assert "No model was used." in text
    assert text.count("no map") == 2


def test_a_page_that_cannot_be_written_is_told(project, tmp_path):
    (tmp_path / "file").write_text("old")
    with pytest.raises(OutputError, match="cannot be written"):
        write_report(project, tmp_path / "file" / "report.html")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (3600, "1 h 00 min"), (7505, "2 h 05 min")],
)
def test_times_are_told_in_hours_minutes_and_seconds(seconds, text):
    assert duration(seconds) == text


def test_a_report_replaces_its_own_kind_alone(project, tmp_path):
    path = tmp_path / "report.html"
    for _ in range(2):
        write_report(project, path)
    mine = tmp_path / "mine.html"
    mine.write_text("<html><head></head><body>my thesis</body></html>")
    with pytest.raises(OutputError, match="PixelCAM did not write it"):
        write_report(project, mine)
    assert "my thesis" in mine.read_text()
