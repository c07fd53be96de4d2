"""tadka: tables in, a model that answers live traffic out; each room is a subpackage."""

__all__ = ["__version__"]

__version__ = "0.1.0"
