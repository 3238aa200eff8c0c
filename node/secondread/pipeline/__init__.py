"""The order of the stages, and the supervisor of the processes."""
