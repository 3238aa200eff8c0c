"""Running models: the engines, and the worker process that they start."""
