"""Work on a large tile ends within a layer's time, and looking whether to go on changes nothing."""

import numpy as np
import pytest

from pixelcam.errors import CancelledError
from pixelcam.events import Stop
from pixelcam.localize import working as sampling
from pixelcam.refine import extract_features
from pixelcam.slides import Slide
from tests.synthetic import tissue

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def slide():
    """One tile of a model at 0.5 microns a pixel, which it is not at."""
    return Slide.from_array(tissue("crowded", 1, 200)[0], mpp=0.17)


class Patience:
    """Says no after so many questions, and counts those that came after."""

    def __init__(self, questions=10**9):
        self.questions, self.asked = questions, 0

    def __call__(self):
        self.asked += 1
        return Stop.DISCARD if self.asked > self.questions else Stop.NO


def localized(localizer, slide, should_stop):
    return localizer.localize(slide, should_stop=should_stop).foreground


def extracted(localizer, slide, should_stop):
    return extract_features(localizer, slide, should_stop=should_stop).prior.numpy()


@pytest.mark.parametrize("work", [localized, extracted])
@pytest.mark.parametrize("kind", ["shallow", "transformer"])
def test_not_one_layer_runs_after_the_word_to_stop(request, kind, work, slide, monkeypatch):
    localizer = request.getfixturevalue(kind)
    endless = Patience()
    work(localizer, slide, endless)
    layers = sum(1 for _ in localizer.network.modules())
    tiles = len(localizer.plan_tiles(localizer.working_image(slide)))
    assert endless.asked > layers / 2 * tiles, "asked within the network, not between tiles alone"
    for questions in range(0, endless.asked, max(endless.asked // 40, 1)):
        short = Patience(questions)
        with pytest.raises(CancelledError):
            work(localizer, slide, short)
        assert short.asked == questions + 1


@pytest.mark.parametrize("work", [localized, extracted])
def test_looking_whether_to_go_on_changes_no_bit_and_leaves_no_trace(shallow, slide, work, monkeypatch):
    before = work(shallow, slide, Patience())
    monkeypatch.setattr(sampling, "STRIP", 7)
    assert np.array_equal(work(shallow, slide, Patience()), before)
    with pytest.raises(CancelledError):
        work(shallow, slide, Patience(20))
    assert not any(layer._forward_pre_hooks for layer in shallow.network.modules())
