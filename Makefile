# The two commands: `make demo` runs the shipped retail spec on simulated sales, `make test` checks what a change must pass.
.DEFAULT_GOAL := help
SHELL := /bin/sh
BIN := .venv/bin
# What every kind of session must do: the usual one, Spark Connect, an older Spark.
CORE := tests/spark/test_job.py tests/spark/test_command_line.py -m core
export MANYMODELS_JARS ?= $(CURDIR)/.jars

.PHONY: help env demo test test-covered test-all quick test-connect test-spark-3.5 lint audit sbom licences unit services docs docs-serve wheel clean

help: ## Show what can be made
	@sed -n 's/^\([a-z0-9.-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22
	@echo "  make bench-NAME   One of: $$(ls benchmarks/*.py | sed 's|.*/||; s|\.py||' | grep -v -e __init__ -e common | xargs)"

env: ## Make the environment in .venv and fetch the Spark jars into .jars
	@sh scripts/bootstrap.sh

demo: env ## Simulated sales through the whole job: 200 models in MLflow, predictions in DuckDB
	@$(BIN)/manymodels demo-data
	@$(BIN)/manymodels run conf/retail.yaml

test: ## Lint, types, layers, audit, then the tests; what CI runs
	@sh scripts/test.sh

test-covered: ## The same, and the coverage of it
	@sh scripts/test.sh covered

test-all: ## The same with the tests that are marked `slow`, and the coverage of all of them
	@sh scripts/test.sh all

quick: ## Lint, types, layers and the unit tests: under three minutes
	@sh scripts/test.sh quick

test-connect: env ## The stages' tests on Spark Connect
	MANYMODELS_TEST_REMOTE='local[2]' $(BIN)/python -m pytest tests/spark

test-spark-3.5: ## The core of the stages' tests on Spark 3.5, in an environment of its own
	@sh scripts/spark_env.sh 3.5
	.venv-3.5/bin/python -m pytest $(CORE)

test-python-%: ## The core of the tests with the wheel on another Python, e.g. test-python-3.12
	@sh scripts/python_env.sh $*

sbom: env ## dist/sbom.json (CycloneDX) and docs/licences.md, of the wheel with all extras
	@sh scripts/released.sh

licences: sbom

lint: env ## ruff, mypy --strict, import-linter
	@sh scripts/lint.sh

audit: env ## Known vulnerabilities of the pinned packages, by PyPI's data; no failure where that is not reached
	$(BIN)/python scripts/audit.py

unit: env ## The tests that need neither Java nor a server
	$(BIN)/python -m pytest tests/unit -n 2

services: # Postgres, a browser and Azurite, for the tests that use them
	@sh scripts/test_services.sh

docs: env ## Build the site of the docs into .manymodels/site; every link must lead somewhere
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "to read it: make docs-serve, or any web server over .manymodels/site"

docs-serve: env ## Show the site at http://127.0.0.1:8000 and build it anew where a page changes
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs serve

wheel: env ## Build the wheel into dist/, and the same file under the name that spark-submit's --py-files takes
	$(BIN)/python -m build --wheel --outdir dist . >/dev/null
	cp dist/manymodels_spark-*.whl dist/manymodels_spark.zip && ls dist

bench-%: env
	@$(BIN)/python -m benchmarks.$* $(ARGS)

clean: ## Remove what was made, but for the environment
	rm -rf .manymodels dist build *.egg-info
