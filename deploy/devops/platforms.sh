#!/bin/sh
# Brings the files of one platform into Azure: sh platforms.sh synapse|datafactory|azureml. Signed in by `az login`; needs
# RESOURCE_GROUP and SYNAPSE_WORKSPACE with LAKE_ACCOUNT, or FACTORY, or AZUREML_WORKSPACE. Used by both pipelines.
set -eu
cd "$(dirname "$0")/.."

# One file of a resource after another, those first that the others name.
each() { for file in "$1"/*.json; do [ -e "$file" ] && "$2" "$(basename "$file" .json)" "$file"; done; }

synapse_linked() { az synapse linked-service create --workspace-name "$SYNAPSE_WORKSPACE" --name "$1" --file "@$2"; }
synapse_job() { az synapse spark-job-definition create --workspace-name "$SYNAPSE_WORKSPACE" --name "$1" --file "@$2"; }
synapse_pipeline() { az synapse pipeline create --workspace-name "$SYNAPSE_WORKSPACE" --name "$1" --file "@$2"; }
synapse_trigger() { az synapse trigger create --workspace-name "$SYNAPSE_WORKSPACE" --name "$1" --file "@$2"; }
upload() { az storage fs file upload --account-name "$LAKE_ACCOUNT" -f code --auth-mode login --overwrite -s "$1" -p "manymodels/$2"; }
factory() { az datafactory "$1" create --resource-group "$RESOURCE_GROUP" --factory-name "$FACTORY" --name "$2" --"$3" "@$4"; }

# Data Factory's commands take what is below `properties`, in a file of its own.
properties() { python -c 'import json, sys; json.dump(json.load(open(sys.argv[1]))["properties"], open(sys.argv[2], "w"))' "$1" "$2"; }
factory_each() {
    for file in "datafactory/$1"/*.json; do
        properties "$file" properties.json
        factory "$2" "$(basename "$file" .json)" "$3" properties.json
    done
    rm -f properties.json
}

case "$1" in
synapse)
    upload synapse/stage.py stage.py
    for spec in ../conf/platforms/synapse*.yaml; do upload "$spec" "$(basename "$spec")"; done
    each synapse/linkedService synapse_linked
    each synapse/sparkJobDefinition synapse_job
    each synapse/pipeline synapse_pipeline
    each synapse/trigger synapse_trigger
    ;;
datafactory)
    factory_each linkedService linked-service properties
    factory_each dataset dataset properties
    # The pipeline that the others start comes first.
    properties datafactory/pipeline/RunJob.json properties.json
    factory pipeline RunJob pipeline properties.json
    factory_each pipeline pipeline pipeline
    factory_each trigger trigger properties
    ;;
azureml)
    manymodels deploy azureml --folder azureml --resource-group "$RESOURCE_GROUP" --workspace "$AZUREML_WORKSPACE"
    ;;
*)
    echo "synapse, datafactory or azureml is expected, not '$1'" >&2
    exit 2
    ;;
esac
