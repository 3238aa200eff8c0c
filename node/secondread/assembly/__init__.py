"""Which series of a complete study suits which model, and is its geometry sound."""
