#!/bin/sh
# Makes everything that a bare clone lacks: Java 17, a Python environment in .venv with the versions of
# constraints.txt, and the Spark jars in .jars. Does nothing where all is there. Extras: EXTRAS=local,postgres,...
set -eu
cd "$(dirname "$0")/.."

EXTRAS="${EXTRAS:-dev}"
PYTHON="${PYTHON:-python3}"

fail() { echo "$*" >&2; exit 1; }

java_is_there() {
    [ -n "${JAVA_HOME:-}" ] && [ -x "$JAVA_HOME/bin/java" ] && return 0
    command -v java >/dev/null 2>&1 || return 1
    version=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -1)
    [ "${version:-0}" -ge 17 ]
}

if ! java_is_there; then
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "installing Java 17"
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends openjdk-17-jre-headless >/dev/null
    else
        fail "Spark needs Java 17 or newer: install it and try again (Debian, Ubuntu: sudo apt-get install openjdk-17-jre-headless)"
    fi
fi

"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    fail "Python 3.11 or newer is needed, and $PYTHON is $("$PYTHON" --version 2>&1 || echo missing). Name another: PYTHON=python3.12 make ..."

wanted="$EXTRAS $(cat setup.py constraints.txt | cksum)"
if [ "$(cat .venv/.installed 2>/dev/null)" != "$wanted" ]; then
    echo "installing into .venv"
    [ -x .venv/bin/python ] || "$PYTHON" -m venv .venv ||
        fail "the environment could not be made (Debian, Ubuntu: sudo apt-get install python3-venv)"
    .venv/bin/python -m pip install -q -c constraints.txt uv
    .venv/bin/python -m uv pip install -q -p .venv/bin/python -c constraints.txt -e ".[$EXTRAS]"
    echo "$wanted" > .venv/.installed
fi

mkdir -p .jars
.venv/bin/python -c 'from manymodels_spark.spark.jars import jar_paths; jar_paths()'
