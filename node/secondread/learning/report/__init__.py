"""A report of an evaluation or a comparison: one HTML file that needs nothing else."""
