"""The device's queue: what was asked for last goes first, the rest gives way, and all of it can be ended."""

import threading

import numpy as np
import pytest

from napari_pixelcam import backend
from napari_pixelcam.device_queue import DeviceQueue, Urgency
from pixelcam.errors import CancelledError
from pixelcam.events import Event, Stop, ignore_events
from pixelcam.slides import Slide
from tests.napari_pixelcam.helpers import Threads


class Piece:
    """Work that goes on until it is let go or told to stop, and what became of it."""

    def __init__(self, name, log):
        self.name, self.log = name, log
        self.runs = 0
        self.released = threading.Event()
        self.begun = threading.Event()
        self.ended = []

    def __call__(self, task):
        self.runs += 1
        self.log.append(f"{self.name} begins")
        task.emit(Event("step", step=self.runs))
        self.begun.set()
        while not self.released.wait(0.001):
            if task.should_stop() is not Stop.NO:
                self.log.append(f"{self.name} gives way")
                raise CancelledError
        return self.name


class Line:
    """A queue over threads, and pieces of work in it."""

    def __init__(self):
        self.background = Threads()
        self.queue = DeviceQueue(self.background)
        self.log, self.pieces, self.tasks = [], {}, {}

    def ask(self, name, urgency):
        piece = self.pieces[name] = Piece(name, self.log)
        turn = self.tasks[name] = self.queue.turn(name, urgency)
        self.queue.submit(
            turn,
            piece,
            done=lambda result: piece.ended.append(result),
            failed=lambda error: piece.ended.append(type(error)),
            progress=lambda event: piece.ended.append(event.step),
        )
        return piece

    def let_go(self, *names):
        for name in names:
            self.pieces[name].released.set()

    def wait_for(self, name):
        self.background.pump(lambda: self.pieces[name].begun.is_set())


@pytest.fixture
def line():
    made = Line()
    yield made
    made.let_go(*made.pieces)
    made.background.settle()


def test_one_thing_runs_at_a_time_and_the_last_asked_for_goes_first(line):
    for name in ("first", "second", "third"):
        line.ask(name, Urgency.ASKED)
    line.let_go("first", "second", "third")
    line.background.settle()
    assert line.log[0] == "first begins"
    assert line.log[-2:] in (["third begins", "second begins"], ["second begins", "first begins"])
    assert [line.pieces[name].ended[-1] for name in ("first", "second", "third")] == [
        "first",
        "second",
        "third",
    ]


def test_what_is_less_urgent_gives_way_and_begins_anew(line):
    line.ask("preparing A", Urgency.CORRECTIONS)
    line.wait_for("preparing A")
    line.ask("localizing B", Urgency.ASKED)
    line.wait_for("localizing B")
    assert line.log == ["preparing A begins", "preparing A gives way", "localizing B begins"]
    assert line.queue.running == "localizing B"
    assert line.queue.waits(line.tasks["preparing A"])
    assert CancelledError not in line.pieces["preparing A"].ended, "nobody has cancelled it"
    line.let_go("localizing B", "preparing A")
    line.background.settle()
    assert line.log[-1] == "preparing A begins"
    assert line.pieces["preparing A"].ended == [1, 2, "preparing A"]


@pytest.mark.parametrize("urgency", [Urgency.AHEAD, Urgency.LIST, Urgency.CORRECTIONS])
def test_background_work_never_goes_before_what_was_asked_for(line, urgency):
    line.ask("asked", Urgency.ASKED)
    line.wait_for("asked")
    line.ask("background", urgency)
    line.let_go("asked", "background")
    line.background.settle()
    assert line.log == ["asked begins", "background begins"]


def test_what_waits_is_ended_at_once_and_never_begins(line):
    line.ask("asked", Urgency.ASKED)
    line.ask("ahead", Urgency.AHEAD)
    line.tasks["ahead"].stop()
    assert line.pieces["ahead"].ended == [CancelledError]
    line.let_go("asked")
    line.background.settle()
    assert line.pieces["ahead"].runs == 0


def test_what_runs_is_told_at_once_and_the_next_begins_when_the_device_is_free(line):
    line.ask("asked", Urgency.ASKED)
    line.ask("next", Urgency.LIST)
    line.wait_for("asked")
    line.tasks["asked"].stop()
    assert line.pieces["asked"].ended[-1] is CancelledError
    assert line.queue.running == "asked", "the device is not free yet, and the queue says so"
    line.wait_for("next")
    assert line.log == ["asked begins", "asked gives way", "next begins"]
    line.tasks["asked"].stop()
    line.let_go("next")
    line.background.settle()
    assert line.pieces["asked"].ended.count(CancelledError) == 1


def test_what_gave_way_can_be_ended_while_it_waits_again(line):
    line.ask("ahead", Urgency.AHEAD)
    line.wait_for("ahead")
    line.ask("asked", Urgency.ASKED)
    line.wait_for("asked")
    line.tasks["ahead"].stop()
    line.let_go("asked", "ahead")
    line.background.settle()
    assert line.pieces["ahead"].runs == 1
    assert line.pieces["ahead"].ended == [1, CancelledError]


def test_what_is_asked_for_again_goes_before_its_like(line):
    line.ask("asked", Urgency.ASKED)
    line.wait_for("asked")
    line.ask("A", Urgency.CORRECTIONS)
    line.ask("B", Urgency.CORRECTIONS)
    line.queue.hurry(line.tasks["A"])
    line.let_go("asked", "A", "B")
    line.background.settle()
    assert line.log == ["asked begins", "A begins", "B begins"]


def test_all_work_of_a_kind_is_stopped_for_another_program(line):
    line.ask("A", Urgency.CORRECTIONS)
    line.wait_for("A")
    line.ask("B", Urgency.CORRECTIONS)
    line.ask("ahead", Urgency.AHEAD)
    line.ask("list", Urgency.LIST)
    line.queue.stop(Urgency.AHEAD, Urgency.CORRECTIONS)
    line.let_go("list")
    line.background.settle()
    assert line.log[-1] == "list begins"
    assert [line.pieces[name].ended[-1] for name in ("A", "B", "ahead")] == 3 * [CancelledError]
    assert line.queue.running == ""


def test_a_failure_is_told_once_and_holds_nothing_up(line):
    told = []

    def broken(task):
        raise ZeroDivisionError

    line.queue.submit(
        line.queue.turn("", Urgency.ASKED),
        broken,
        done=told.append,
        failed=lambda error: told.append(type(error)),
    )
    line.ask("next", Urgency.AHEAD)
    line.let_go("next")
    line.background.settle()
    assert told == [ZeroDivisionError]
    assert line.pieces["next"].ended[-1] == "next"


def test_a_callback_that_raises_does_not_stop_the_queue(line):
    def shout(result):
        raise RuntimeError("no")

    line.queue.submit(line.queue.turn("", Urgency.ASKED), lambda task: 1, done=shout, failed=shout)
    line.ask("next", Urgency.AHEAD)
    line.let_go("next")
    with pytest.raises(RuntimeError, match="no"):
        line.background.settle()
    line.background.settle()
    assert line.pieces["next"].ended[-1] == "next"


@pytest.fixture
def layers(tiny_checkpoint, monkeypatch):
    """Count the layers that a real network runs, and hold it at one of them until it is let go."""
    from pixelcam.model import network

    seen = {"count": 0, "hold at": None, "held": threading.Event(), "go on": threading.Event()}
    build = backend._load

    def load(choice):
        localizer = build(choice)

        def look(layer, inputs):
            seen["count"] += 1
            if seen["count"] == seen["hold at"]:
                seen["held"].set()
                assert seen["go on"].wait(120)

        assert isinstance(localizer.network, network.PixelCAM)
        for layer in localizer.network.modules():
            if not list(layer.children()):
                layer.register_forward_pre_hook(look)
        return localizer

    monkeypatch.setattr(backend, "_load", load)
    return seen


@pytest.mark.parametrize("end", ["cancelled", "gives way"])
@pytest.mark.parametrize("what", ["localize", "refiner"])
def test_a_real_network_runs_one_more_layer_at_most_when_another_is_to_go(
    tiny_checkpoint, user_folder, layers, what, end
):
    background = Threads()
    queue, localizers = DeviceQueue(background), backend.Localizers()
    pixels = np.random.default_rng(0).integers(0, 255, (600, 700, 3), np.uint8)
    slide, choice = Slide.from_array(pixels, mpp=0.5), backend.Choice(str(tiny_checkpoint), "cpu")
    ends = []

    def work(task):
        if what == "localize":
            return localizers.localize(slide, choice, on_event=ignore_events, should_stop=task.should_stop)
        return localizers.refiner(slide, choice, should_stop=task.should_stop)

    layers["hold at"] = 20
    turn = queue.turn("", Urgency.CORRECTIONS)
    queue.submit(
        turn,
        work,
        done=lambda result: ends.append("done"),
        failed=lambda error: ends.append(type(error)),
    )
    assert layers["held"].wait(120)
    if end == "cancelled":
        turn.stop()
    else:
        queue.submit(
            queue.turn("", Urgency.ASKED),
            lambda task: ends.append(layers["count"]),
            done=lambda result: None,
            failed=lambda error: None,
        )
    layers["go on"].set()
    background.settle()
    if end == "cancelled":
        assert ends == [CancelledError]
        assert layers["count"] <= 21
    else:
        assert ends[0] <= 21
        assert ends[1:] == ["done"]
        assert layers["count"] > 60, "it began anew and ran to its end"
    localizers.release()
