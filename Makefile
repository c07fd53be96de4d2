# Every target makes the environment in .venv first when it is missing or stale. More arguments: make test ARGS="-k stream"
# NAME is the benchmark of `make bench`. TADKA_DATA is the folder of real data sets (default ../shared/data).

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: setup demo example test check fuzz bench help clean

PYTHON := .venv/bin/python

setup:  ## make the environment in .venv, and install the system packages that tests use
	@scripts/setup

demo:  ## train and predict film ratings (RATINGS=DIR of MovieLens 100k, else made up); writes demo-output/
	@scripts/setup --quiet
	@.venv/bin/tadka demo --out demo-output $(if $(RATINGS),--ratings "$(RATINGS)") $(ARGS)

example:  ## run one of examples/: make example NAME=ctr
	@scripts/setup --quiet
	@scripts/example "$(NAME)" $(ARGS)

test:  ## run the tests, several at a time (ARGS goes to pytest; -n0 runs one at a time)
	@scripts/setup --quiet
	@$(PYTHON) -m pytest -n auto --maxprocesses 4 --dist loadgroup $(ARGS)

check:  ## formatting, lint, types, and the direction of imports
	@scripts/setup --quiet
	@scripts/check

fuzz:  ## throw damaged messages at the decoder under the address sanitizer (SECONDS=60)
	@scripts/setup --quiet
	@scripts/fuzz $(or $(SECONDS),60)

bench:  ## run one benchmark: make bench NAME=stream_fm ARGS=--quick
	@scripts/setup --quiet
	@scripts/bench "$(NAME)" $(ARGS)

help:  ## list the targets
	@awk -F ': *## *' '/^[a-z]+:.*##/ { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

clean:  ## remove build outputs, caches and demo-output/; .venv and runs/ stay
	@rm -rf build dist demo-output .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find src tests docs benchmarks examples scripts -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
