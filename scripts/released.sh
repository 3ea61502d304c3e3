#!/bin/sh
# What a release brings: dist/sbom.json (CycloneDX) and docs/licences.md, of an environment with the wheel and all its extras.
# The two tools are run by uv in environments of their own.
set -eu
cd "$(dirname "$0")/.."

VENV="${TMPDIR:-/tmp}/manymodels-released"
UV=".venv/bin/python -m uv"
mkdir -p dist
.venv/bin/python -m build --wheel --outdir dist . >/dev/null
$UV venv -q --clear --python .venv/bin/python "$VENV"
$UV pip install -q -p "$VENV/bin/python" -c constraints.txt "$(ls dist/manymodels_spark-*.whl)[local,serve,azure,postgres,lightgbm,otel]"
$UV tool run -q --from cyclonedx-bom==7.5.0 cyclonedx-py environment "$VENV/bin/python" --pyproject pyproject.toml \
    --output-reproducible -o dist/sbom.json 2>/dev/null \
    || $UV tool run -q --from cyclonedx-bom==7.5.0 cyclonedx-py environment "$VENV/bin/python" --output-reproducible -o dist/sbom.json
{
    echo "# Licences"
    echo
    echo "Of what the package installs with all of its extras; written by \`make licences\` from the packages' metadata."
    echo
    $UV tool run -q --from pip-licenses==5.5.5 pip-licenses --python "$VENV/bin/python" --format markdown \
        --ignore-packages manymodels-spark
} > docs/licences.md
rm -rf "$VENV"
echo "dist/sbom.json: $(.venv/bin/python -c 'import json; print(len(json.load(open("dist/sbom.json"))["components"]))') components; docs/licences.md: $(grep -c '^|' docs/licences.md) lines"
