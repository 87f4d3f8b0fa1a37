"""How far a reviewer is with a project, and what comes next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pixelcam.review.entries import ImageEntry


@dataclass(frozen=True)
class Summary:
    """A project's images by how far one reviewer is with them.

    Attributes
    ----------
    images
        All of them.
    to_do, in_review, done, skipped
        Those of each status.
    """

    images: int
    to_do: int
    in_review: int
    done: int
    skipped: int

    @property
    def finished(self) -> bool:
        """Whether every image is done or skipped, and there is one."""
        return 0 < self.images == self.done + self.skipped

    @property
    def progress(self) -> str:
        """What is done, in a few words: "7 of 12 done, 1 skipped"."""
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.done} of {self.images} done{skipped}"

    @property
    def next_step(self) -> str:
        """What to do now, in one or two sentences."""
        if not self.images:
            return "Add images to begin."
        if not self.finished:
            left = self.images - self.done - self.skipped
            return f"{_images(left)} left." if self.done or self.skipped else "Open the first image to begin."
        if not self.done:
            return "Every image is skipped; go back to those that you want to judge."
        return (
            "All images are done. Write the report, export what you accepted, or teach the model with your "
            "seeds by Fine-tune and localize the next images with it."
        )


def summarize(entries: Sequence[ImageEntry]) -> Summary:
    """Return how far a reviewer is, from the images as that reviewer sees them (`Project.images`)."""
    counts = Counter(entry.status for entry in entries)
    return Summary(
        images=len(entries),
        to_do=counts["to do"],
        in_review=counts["in review"],
        done=counts["done"],
        skipped=counts["skipped"],
    )


def _images(count: int) -> str:
    return "1 image is" if count == 1 else f"{count} images are"
