"""Partial labels: the contract, the samplers of pseudo-labels, and proposals to a reviewer."""

from pixelcam.seeds.labels import BACKGROUND, BRUSH, FOREGROUND, UNLABELLED, count_seeds, merge_seeds
from pixelcam.seeds.propose import propose_seeds

__all__ = ["BACKGROUND", "BRUSH", "FOREGROUND", "UNLABELLED", "count_seeds", "merge_seeds", "propose_seeds"]
