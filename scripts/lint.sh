#!/bin/sh
# ruff, mypy --strict and import-linter, with the settings of pyproject.toml.
set -eu
cd "$(dirname "$0")/.."
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy
.venv/bin/lint-imports
