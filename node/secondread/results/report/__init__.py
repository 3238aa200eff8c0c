"""The report: what is in it, in which language, and how it is encoded."""
