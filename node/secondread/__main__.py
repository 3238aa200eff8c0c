"""``python -m secondread``: the same as the ``secondread`` command."""

from secondread.cli.main import run

run()
