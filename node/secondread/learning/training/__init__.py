"""Training of networks: resumable, and the same on every run of a recipe."""
