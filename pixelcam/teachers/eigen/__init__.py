"""Eigen maps: what all images vary along most, turned by the classifier, made precise by refitting.

A small classifier's own maps are poor, because the label can be told from little of the tissue. But the
features of an encoder that knows natural images fall into two groups by themselves wherever an image shows
objects on a ground. The leading principal component of an image's features is Eigen-CAM (Muhammad & Yeasin
2020, IJCNN); taken over all training images together, each centred so that stain and brightness drop out, it
is one direction for all. It has no sign and no name: the classifier's maps give it both. The images of one
label have such a direction of their own, near to that of all, which gives it its sign. What a component shows
at the same place of whatever it is shown is the frame, which convolutions feel at the rim, and is taken away.
What is certain in it is then told to a linear classifier of pixel features of several levels and sizes, twice
over with its own answer (self-training in closed form), which learns what the single component cannot see:
one for each label, since foreground does not look alike in all of them. Where a label's images hold no
objects that stand out, as in dense tumour, their own component tells little and may be another: that of all
images is taken. The next finer level's component, which follows how densely nuclei lie, tells more there: it
joins in where it holds so much more of its level's variation, with the sign by which those images hold more
of what it shows than the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from pixelcam.errors import RunError
from pixelcam.events import Event, EventSink, StopCheck, ignore_events, never_stop
from pixelcam.model.encoder import Encoder
from pixelcam.teachers.eigen.cells import Cells, Normalisation
from pixelcam.teachers.eigen.components import leading_components
from pixelcam.teachers.eigen.kinds import Kinds
from pixelcam.teachers.eigen.refit import refitted
from pixelcam.teachers.eigen.scale import NEUTRAL, SPREAD, on_scale, pooled
from pixelcam.teachers.eigen.settings import EigenSettings
from pixelcam.teachers.maps import average_maps

if TYPE_CHECKING:
    from pixelcam.training.data import ImageStack

__all__ = ["NEUTRAL", "SPREAD", "EigenSettings", "eigen_maps", "on_scale", "pooled"]

_CLEARER = 1.5  # times the share of the variation, from where the finer level's component joins in


def eigen_maps(
    settings: EigenSettings,
    encoder: Encoder,
    data: ImageStack,
    class_maps: Tensor,
    normalisation: Normalisation,
    *,
    batch: int = 16,
    on_event: EventSink = ignore_events,
    should_stop: StopCheck = never_stop,
) -> Tensor:
    """Return the eigen maps of training images.

    Parameters
    ----------
    encoder
        With the weights that it began from, in evaluation mode.
    data
        Images (n, s, s, 3).
    class_maps
        (n, m, m): any teacher's maps of the images' labels.
    on_event
        Receives a "step" an encoder pass over the images, and a "warning" where the classifier's maps hardly
        tell the component's sign.

    Returns
    -------
    maps
        (n, grid, grid) float32 in [0, 1]; 0.5 is neutral, and 1/8 a standard deviation over all images.

    Raises
    ------
    RunError
        No image holds a region, or no cell is certain.
    CancelledError
    """
    if bool(data.regionless.all()):
        raise RunError("No training image holds a region: there is nothing to localise.")
    cells = Cells(
        encoder, data, normalisation, grid=settings.grid, batch=batch,
        steps=2 * len(settings.sides) + (2 if settings.rounds else 0),
        on_event=on_event, should_stop=should_stop,
    )  # fmt: skip
    with torch.inference_mode():
        kinds = Kinds.of(data) if settings.by_label else Kinds.of(data).whole
        return on_scale(deviations(settings, cells, kinds, class_maps)).clone()


def deviations(settings: EigenSettings, cells: Cells, kinds: Kinds, class_maps: Tensor) -> Tensor:
    """Return maps (n, grid, grid) in standard deviations from neutral."""
    s = settings
    wanted = average_maps([class_maps], "rank")[:, None] - 0.5
    classes = pooled(functional.adaptive_avg_pool2d(wanted, s.grid)[:, 0])
    levels = [s.level, *([s.level - 1] if s.level and s.rounds else [])]
    found = [leading_components(cells, side, levels, kinds) for side in s.sides]
    coarse, fine = [each[0] for each in found], [each[-1] for each in found]
    share, finer_share = (torch.stack([each.share for each in of]).mean(dim=0) for of in (coarse, fine))
    clearer = finer_share >= _CLEARER * share
    signed = []
    for each in coarse:
        common = kinds.whole.signed(each.common, classes)
        own = kinds.signed(each.maps, common)
        signed.append(torch.where(clearer[kinds.kind, None, None], common, own))
    component = kinds.pooled(torch.stack(signed).sum(dim=0))
    _tell_agreement(float((component * classes).mean()), cells.on_event)
    prior = kinds.pooled(component + s.class_weight * classes)
    if not s.rounds:
        return prior
    return refitted(s, cells, kinds, prior, [each.common for each in fine], clearer)


def _tell_agreement(agreement: float, on_event: EventSink) -> None:
    on_event(Event("step", stage="eigen", metrics={"agreement": agreement}))
    if abs(agreement) < 0.05:
        message = (
            "The classifier's maps hardly tell foreground from background: "
            "check the maps, which may be inverted, or choose another teacher."
        )
        on_event(Event("warning", stage="eigen", message=message))
