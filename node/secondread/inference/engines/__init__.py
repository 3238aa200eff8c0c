"""The engines: where tasks run."""
