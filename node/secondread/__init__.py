"""SecondRead: the AI node of a hospital's imaging network."""

__version__ = "0.1.0"
