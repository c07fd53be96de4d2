"""The command `tadka`: one file per noun, each a thin translation of the library."""

from tadka.cli.start import main

__all__ = ["main"]
