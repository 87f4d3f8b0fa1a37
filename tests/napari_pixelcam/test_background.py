"""Work in threads, as the dock runs it."""

import threading

from napari_pixelcam.widgets.qt_background import QtBackground


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
