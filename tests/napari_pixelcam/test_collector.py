"""What only the garbage collector frees is freed on the interface's thread while a dock lives."""

import gc
import threading

from napari_pixelcam.widgets.collector import Collector


class Cycle:
    """Something that refers to itself, and notes which thread deletes it."""

    def __init__(self, deleted):
        self.itself, self.deleted = self, deleted

    def __del__(self):
        self.deleted.append(threading.current_thread())


def allocate():
    """Make enough objects in a worker for Python to collect there."""
    worker = threading.Thread(target=lambda: [[] for _ in range(200_000)])
    worker.start()
    worker.join()


def test_a_worker_does_not_delete_what_the_interface_has_left(qtbot):
    deleted = []
    gc.collect()
    Cycle(deleted)
    allocate()
    assert deleted
    assert deleted[0] is not threading.main_thread()  # so it is without a collector
    deleted.clear()
    collector = Collector()
    collector.start()
    try:
        gc.collect()
        for _ in range(2 * gc.get_threshold()[0]):  # a collection is due by what there is more than before
            Cycle(deleted)
        allocate()
        assert deleted == []
        qtbot.waitUntil(lambda: bool(deleted), timeout=10_000)
        assert set(deleted) == {threading.main_thread()}
    finally:
        collector.stop()
    assert gc.isenabled()


def test_the_collection_goes_back_to_python_with_the_last_of_several():
    first, second = Collector(), Collector()
    for collector in (first, second, second):
        collector.start()
    second.stop()
    assert not gc.isenabled()
    first.stop()
    first.stop()
    assert gc.isenabled()


def test_what_is_set_aside_is_looked_through_again_in_time(qtbot, monkeypatch):
    deleted = []
    collector = Collector()
    collector.start()
    try:
        Cycle(deleted).aside = gc
        gc.freeze()
        gc.collect()
        assert deleted == []
        collector.settle()
        assert len(deleted) == 1
        assert gc.get_freeze_count() > 0
        kept = Cycle(deleted)
        collector.settle()
        del kept
        gc.collect()
        assert len(deleted) == 1
        monkeypatch.setattr("napari_pixelcam.widgets.collector.SETTLE", 0.0)
        qtbot.waitUntil(lambda: len(deleted) == 2, timeout=10_000)
    finally:
        collector.stop()
    assert gc.get_freeze_count() == 0
