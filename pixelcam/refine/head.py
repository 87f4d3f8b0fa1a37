"""Fitting a linear head to few labelled cells, from another head as the prior."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

ITERATIONS = 50
_SMALLEST_STEP = 2**-12


def fit_dual(gram: Tensor, prior: Tensor, labels: Tensor, weights: Tensor, l2: float) -> Tensor:
    """Fit the change of a logistic head and return it as weights of the samples.

    Minimises ``sum_i w_i log(1 + exp(-s_i z_i)) + l2 / 2 |d|^2`` over d, where ``z = prior + features @ d``
    and s is 1 for foreground and -1 for background: logistic regression with a Gaussian prior around the
    head that gave `prior`. By the representer theorem ``d = features.T @ a``, and with few samples of many
    features Newton's method in a is the cheap one.

    Parameters
    ----------
    gram
        (n, n) float64: ``features @ features.T``, or any covariance of what the head adds at the samples.
    prior
        (n,) logits of foreground before the fit.
    labels
        (n,) 1 foreground, 0 background.
    weights
        (n,) positive.
    l2
        Strength of the prior.

    Returns
    -------
    a
        (n,) float64.
    """
    identity = torch.eye(len(labels), dtype=torch.float64)
    signs = 1 - 2 * labels

    def loss(a: Tensor) -> float:
        change = gram @ a
        return float((weights * softplus(signs * (prior + change))).sum() + l2 / 2 * (a @ change))

    a = torch.zeros(len(labels), dtype=torch.float64)
    reached = loss(a)
    for _ in range(ITERATIONS):
        probability = torch.sigmoid(prior + gram @ a)
        curvature = (weights * probability * (1 - probability)).clamp(min=1e-9)
        residual = weights * (probability - labels) + l2 * a
        step = torch.linalg.solve(curvature[:, None] * gram + l2 * identity, -residual)
        length = 1.0
        while (new := loss(a + length * step)) > reached and length > _SMALLEST_STEP:
            length /= 2  # a full step overshoots where the prior is sure of the opposite
        if not reached - new > 1e-10 * reached:
            break
        a, reached = a + length * step, new
    return a
