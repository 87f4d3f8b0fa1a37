import torch

from pixelcam.refine.head import fit_dual

L2 = 0.02


def gradient(features, prior, labels, weights, a):
    """Of the penalised loss with regard to the change of the head."""
    change = features.T @ a
    residual = torch.sigmoid(prior + features @ change) - labels
    return features.T @ (weights * residual) + L2 * change


def samples(seed, sure):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(24, 60, generator=generator, dtype=torch.float64) / 60**0.5
    labels = (torch.rand(24, generator=generator) > 0.5).double()
    # The prior is sure of the opposite, as it is where a reviewer corrects.
    prior = sure * (1 - 2 * labels) + torch.randn(24, generator=generator, dtype=torch.float64)
    weights = torch.rand(24, generator=generator, dtype=torch.float64) + 0.1
    return features, prior, labels, weights


def test_the_fit_ends_where_the_loss_is_least_however_wrong_the_prior_was():
    for sure in (0, 3, 8, 20):
        for seed in range(5):
            features, *made = samples(seed, sure)
            found = fit_dual(features @ features.T, *made, L2)
            assert gradient(features, *made, found).abs().max() < 1e-4, (sure, seed)


def test_samples_that_the_prior_has_right_change_little():
    features, prior, labels, weights = samples(0, -20)
    assert fit_dual(features @ features.T, prior, labels, weights, L2).abs().max() < 1e-6
