#!/usr/bin/env bash
# Makes benchmarks/.venv: tadka, and every peer the benchmarks run against, at the versions the notes name.
# BentoML and MLServer have environments of their own, benchmarks/.venv-NAME: beside them FastAPI would be an
# older version.
#
#   benchmarks/setup.sh           make or complete the environment
#   benchmarks/setup.sh --clean   make it afresh
#
# The peers live apart from the project's own environment: Ray and Dask bring many packages that tadka does not need.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=benchmarks/.venv
[ "${1:-}" = "--clean" ] && rm -rf "$venv" "$venv-bentoml" "$venv-mlserver"
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
python="$venv/bin/python"

# torch through pip, before anything else: pip honours the machine's own index settings, which may offer a CPU build;
# the constraint below then keeps every later step from replacing it.
"$python" -m pip install --quiet "torch==2.13.0" uv
constraint="$(mktemp)"
trap 'rm -f "$constraint"' EXIT
echo "torch==2.13.0" > "$constraint"

# aiohttp and pydantic: ray[data] 2.60.0 needs both to read a local Parquet file into torch batches, and asks for neither.
# pandas<3: Dask and Ray still use what pandas 3 took away.
"$python" -m uv pip install --python "$python" --quiet --constraint "$constraint" \
    "ray[data]" aiohttp pydantic "dask[distributed]" pyarrow pyzmq numpy psutil "pandas<3" ruff

# The peers of features and scoring. xgboost-cpu: the plain xgboost brings libraries for a GPU of some 300 MB.
"$python" -m uv pip install --python "$python" --quiet --constraint "$constraint" \
    scikit-learn lightgbm xgboost-cpu catboost onnx onnxruntime numba protobuf xxhash

# The peers of serve, in the common environment.
"$python" -m uv pip install --python "$python" --quiet --constraint "$constraint" \
    grpcio protobuf uvloop fastapi uvicorn httptools litserve

# The peers of task. diskcache: Hamilton's other cache.
"$python" -m uv pip install --python "$python" --quiet --constraint "$constraint" \
    "gokart==1.12.2" "luigi==3.8.1" "redun==0.44.1" "sf-hamilton==1.90.0" diskcache

# The peers of models. RecBole without what it asks for: it pins ray<=2.6.3, which it needs for its search of parameters
# alone, and the peers of stream are of a newer one; what it imports otherwise stands here. NumPy 2 and SciPy 1.17 no
# longer have four names that it uses: benchmarks/modelling/recbole_fit.py gives them back. FuxiCTR's wheel has no FM,
# only the layers of which its model zoo makes one.
"$python" -m uv pip install --python "$python" --quiet --constraint "$constraint" \
    "implicit==0.7.3" "fuxictr==2.3.10" "deepctr-torch==0.3.0" "colorlog==4.7.2" colorama tabulate texttable tensorboard scipy
"$python" -m uv pip install --python "$python" --quiet --no-deps "recbole==1.2.1" "thop==0.1.1.post2209072238"

# And the two that need their own. They import the hash and the request of the benchmark from the checkout, and so need
# what tadka's core needs. uvloop<0.22: MLServer's processes ask for an event loop that newer ones do not make.
own_environment() {
    [ -x "$venv-$1/bin/python" ] || "$python" -m uv venv --quiet --python "$python" "$venv-$1"
    "$python" -m uv pip install --python "$venv-$1/bin/python" --quiet \
        "$@" protobuf numpy cloudpickle fsspec "pydantic>=2.12" pyyaml rich typer ||
        echo "setup: $1 cannot be installed; the benchmark serve will name it as missing" >&2
}
own_environment bentoml
own_environment mlserver "uvloop<0.22"

if [ -f pyproject.toml ]; then
    "$python" -m uv pip install --python "$python" --quiet --constraint "$constraint" -e ".[stream,torch,spark]"
else
    echo "setup: no pyproject.toml, so tadka itself is not installed" >&2
fi

"$python" - <<'PYTHON'
import importlib.metadata as metadata

names = (
    "torch ray dask distributed pyarrow pyzmq numpy pandas psutil ruff scikit-learn lightgbm xgboost-cpu catboost onnx "
    "onnxruntime numba protobuf xxhash grpcio uvloop fastapi uvicorn litserve gokart luigi redun sf-hamilton diskcache "
    "recbole fuxictr deepctr-torch implicit scipy duckdb pyspark tadka"
)
for name in names.split():
    try:
        print(f"{name:12} {metadata.version(name)}")
    except metadata.PackageNotFoundError:
        print(f"{name:12} missing")
PYTHON
