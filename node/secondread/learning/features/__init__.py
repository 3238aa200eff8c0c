"""Features: numbers that say what a region of an image looks like, for estimators on tables."""
