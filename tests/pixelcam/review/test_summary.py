"""What is done of a project, and what comes next."""

from __future__ import annotations

import pytest

from pixelcam.review.summary import Summary, summarize


def test_the_images_are_counted_by_what_this_reviewer_says(project):
    first, second = project.images()
    project.set_status(first.id, "done")
    assert summarize(project.images()) == Summary(images=2, to_do=1, in_review=0, done=1, skipped=0)
    assert summarize(project.images()).next_step == "1 image is left."
    project.set_status(second.id, "skipped")
    found = summarize(project.images())
    assert found.finished
    assert found.progress == "1 of 2 done, 1 skipped"
    assert "Write the report" in found.next_step


@pytest.mark.parametrize(
    ("summary", "finished", "says"),
    [
        (Summary(0, 0, 0, 0, 0), False, "Add images"),
        (Summary(12, 12, 0, 0, 0), False, "Open the first image"),
        (Summary(12, 4, 2, 5, 1), False, "6 images are left."),
        (Summary(12, 0, 0, 12, 0), True, "All images are done."),
        (Summary(2, 0, 0, 0, 2), True, "Every image is skipped"),
    ],
)
def test_what_comes_next_is_said_at_each_stage(summary, finished, says):
    assert summary.finished is finished
    assert says in summary.next_step
