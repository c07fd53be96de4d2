"""FastAPI on uvicorn: ``python -m serving.fastapi_app PORT``."""

import sys

import uvicorn
from fastapi import FastAPI

from serving import rows
from serving.schema import Row

app = FastAPI()
score = rows.row_scorer()


@app.post("/predict")
async def predict(row: Row) -> dict[str, float]:
    return {"score": score(row)}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=False)
