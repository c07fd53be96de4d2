"""BentoML: ``bentoml serve serving.bentoml_service:Ctr``."""

import bentoml

from serving import rows
from serving.schema import Row


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Ctr:
    def __init__(self) -> None:
        self.score = rows.row_scorer()

    @bentoml.api
    def predict(self, row: Row) -> dict[str, float]:
        return {"score": self.score(row)}
