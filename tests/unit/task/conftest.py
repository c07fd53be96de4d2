"""Servers, and rows of an index."""

from tests.unit.dataset.conftest import bucket as bucket
from tests.unit.dataset.conftest import postgresql as postgresql
from tests.unit.dataset.conftest import s3_url as s3_url
