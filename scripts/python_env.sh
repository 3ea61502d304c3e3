#!/bin/sh
# Makes .venv-python-X.Y: the wheel as a user installs it, with the tested versions, on another Python; then runs the core of
# the tests with it. The interpreter is the machine's (pyenv, the system's), or else one that uv can fetch.
set -eu
cd "$(dirname "$0")/.."

PYTHON="$1"
VENV=".venv-python-$PYTHON"
sh scripts/bootstrap.sh
.venv/bin/python -m build --wheel --outdir dist . >/dev/null
found="$(ls -d "${PYENV_ROOT:-$HOME/.pyenv}/versions/$PYTHON".*/bin/python 2>/dev/null | tail -1)"
[ -x "$VENV/bin/python" ] || .venv/bin/python -m uv venv -q --python "${found:-$PYTHON}" "$VENV"
wheel="$(ls dist/manymodels_spark-*.whl)"
.venv/bin/python -m uv pip install -q -p "$VENV/bin/python" -c constraints.txt --reinstall-package manymodels-spark \
    "$wheel[local,test,postgres,lightgbm]"
"$VENV/bin/python" -P -m pytest -o pythonpath=tests tests/spark/test_job.py tests/spark/test_command_line.py -m core
