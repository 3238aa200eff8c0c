"""Learning: cases, folds, estimators, training and evaluation of models."""
