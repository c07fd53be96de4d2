"""MLServer: a runtime that reads one tensor for each field; ``mlserver start DIRECTORY``."""

from types import SimpleNamespace

from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput

from serving import rows


class Ctr(MLModel):
    async def load(self) -> bool:
        self.score_of = rows.row_scorer()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        fields = SimpleNamespace(**{tensor.name: tensor.data[0] for tensor in payload.inputs})
        output = ResponseOutput(
            name="score", shape=[1], datatype="FP64", data=[self.score_of(fields)]
        )
        return InferenceResponse(model_name=self.name, outputs=[output])
