"""Figures of a model: how good its segmentations and its probabilities are."""
