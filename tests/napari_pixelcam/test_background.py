"""Work in threads, as the dock runs it."""

import threading

from napari_pixelcam.widgets import qt_background
from napari_pixelcam.widgets.qt_background import QtBackground
from pixelcam.events import Event


def test_short_work_does_not_wait_for_long_work_whatever_the_number_of_cores(qtbot):
    background, release, done = QtBackground(), threading.Event(), []
    try:
        for _ in range(5):
            background.submit(lambda task: release.wait(60), done=lambda result: None, failed=done.append)
        background.submit(lambda task: "short", done=done.append, failed=done.append)
        qtbot.waitUntil(lambda: done == ["short"], timeout=20_000)
    finally:
        release.set()
    qtbot.waitUntil(lambda: not background._running, timeout=20_000)


def test_the_bar_of_work_that_ends_as_the_bar_is_made_does_not_stay(qtbot, monkeypatch):
    bars, background, ended = [], QtBackground(), []

    class Bar:
        """Goes through the waiting events as it is made, as napari's does."""

        def __init__(self, total, desc):
            self.closed = False
            bars.append(self)
            qtbot.waitUntil(lambda: ended == ["done"], timeout=20_000)

        def update(self, steps):
            assert not self.closed

        def close(self):
            self.closed = True

    def work(task):
        task.emit(Event("step", stage="localize", step=1, total=1))
        return "done"

    monkeypatch.setattr(qt_background, "progress", Bar)
    background.submit(work, done=ended.append, failed=ended.append, progress=lambda event: None)
    qtbot.waitUntil(lambda: bool(bars), timeout=20_000)
    assert [bar.closed for bar in bars] == [True]
