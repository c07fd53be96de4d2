"""Tables that Spark's catalog knows by name."""

from dataclasses import dataclass

from tadka.core.error import ConfigError
from tadka.dataset.source.listing import Columns, Keep, Listing, Source


@dataclass(frozen=True)
class Catalog(Source):
    """A table of Spark's catalog; only the engine `"spark"` reads it.

    Args:
        name: Such as `"logs.impressions"`.

    Raises:
        ConfigError: The name is empty.
    """

    name: str

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise ConfigError("Catalog() has no name; give one, such as 'logs.impressions'.")

    def resolve(self, columns: Columns, keep: Keep | None = None) -> Listing:  # noqa: ARG002
        """No files: what there is, Spark alone knows.

        Args:
            columns: Of the table.
            keep: Not asked; the query has the conditions.
        """
        return Listing([], root=self.name)
