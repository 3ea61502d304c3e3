#!/bin/sh
# Installs what the tests use beside Python: a Postgres server, a browser, and Azurite (an Azure storage emulator, into
# .services) with the Spark jars for it. Does nothing where all is there.
set -eu
cd "$(dirname "$0")/.."

# The newest that runs on Debian's Node.js.
AZURITE=3.35.0
SERVICES="${MANYMODELS_SERVICES:-$PWD/.services}"

missing=""
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null 2>&1 || missing="$missing postgresql"
command -v chromium >/dev/null 2>&1 || command -v google-chrome >/dev/null 2>&1 || missing="$missing chromium"
command -v npm >/dev/null 2>&1 || missing="$missing npm"

if [ -n "$missing" ] && [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing$missing"
    apt-get update -qq
    # No server of the system's own is wanted: each test run starts a throw-away one.
    mkdir -p /etc/postgresql-common
    [ -e /etc/postgresql-common/createcluster.conf ] || echo "create_main_cluster = false" > /etc/postgresql-common/createcluster.conf
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
elif [ -n "$missing" ]; then
    echo "some tests will be skipped; to run them install:$missing (Debian, Ubuntu: sudo apt-get install$missing)"
fi

if command -v npm >/dev/null 2>&1 && ! grep -qs "\"version\": \"$AZURITE\"" "$SERVICES/node_modules/azurite/package.json"; then
    echo "installing Azurite into $SERVICES"
    npm install --silent --no-audit --no-fund --no-save --prefix "$SERVICES" "azurite@$AZURITE" >/dev/null ||
        echo "Azurite could not be installed: the tests in an Azure storage account will be skipped"
fi
if [ -x .venv/bin/manymodels ]; then
    .venv/bin/manymodels jars azure >/dev/null
    .venv/bin/manymodels jars kafka >/dev/null
    .venv/bin/python -m tests.integration.kafka
fi
