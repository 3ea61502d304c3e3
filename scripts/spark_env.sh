#!/bin/sh
# Makes a second environment for another Spark, beside the one of scripts/bootstrap.sh: .venv-3.5 with the versions
# of constraints.txt but for those in constraints-spark-3.5.txt, and that Spark's jars in .jars. Does nothing where all is there.
set -eu
cd "$(dirname "$0")/.."

SPARK="${1:-3.5}"
VENV=".venv-$SPARK"
OWN="constraints-spark-$SPARK.txt"
[ -f "$OWN" ] || { echo "there is no $OWN: Spark $SPARK is not among those that are tested" >&2; exit 1; }
sh scripts/bootstrap.sh

wanted="$(cat setup.py constraints.txt "$OWN" | cksum)"
if [ "$(cat "$VENV/.installed" 2>/dev/null)" != "$wanted" ]; then
    echo "installing into $VENV"
    [ -x "$VENV/bin/python" ] || .venv/bin/python -m venv --without-pip "$VENV"
    merged="$VENV/constraints.txt"
    sed -n 's/^\([a-z0-9-]*==\).*/^\1/p' "$OWN" | grep -v -f /dev/stdin constraints.txt > "$merged"
    cat "$OWN" >> "$merged"
    .venv/bin/python -m uv pip install -q -p "$VENV/bin/python" -c "$merged" -e ".[spark-$SPARK,test]"
    echo "$wanted" > "$VENV/.installed"
fi

mkdir -p .jars
"$VENV/bin/python" -c 'from manymodels_spark.spark.jars import jar_paths; jar_paths()'
