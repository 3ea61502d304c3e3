#!/bin/sh
# Everything that a change must pass, part by part, with the seconds of each at the end; the first part that fails
# ends it. `test.sh` leaves out the tests marked `slow`, `test.sh all` runs them too; `all` and `covered`
# measure coverage; `quick` ends after the unit tests.
set -eu
cd "$(dirname "$0")/.."

WORKERS="${WORKERS:-2}"
PYTHON=.venv/bin/python
LOGS=.manymodels/tests
CORE="tests/spark/test_job.py tests/spark/test_command_line.py -m core"
# A run that was cut short is resumed through Delta's transactions: with Spark 3.5 comes another Delta, with Spark
# Connect the same one. The command line looks for a session: Spark Connect has another kind, Spark 3.5 the same one.
CONNECT="--deselect tests/spark/test_job.py::test_a_run_that_was_cut_short_is_finished_by_the_next_and_logs_every_model_once"
OLDER="--deselect tests/spark/test_command_line.py::test_the_whole_job_runs_by_one_command"
CHOSEN="not slow" COVERAGE=""
case "${1:-}" in
all) CHOSEN="" CONNECT="" OLDER="" ;;
esac
case "${1:-}" in
all | covered) COVERAGE="--cov --cov-append --cov-report= --cov-fail-under=0" ;;
esac
export MANYMODELS_JARS="${MANYMODELS_JARS:-$PWD/.jars}"
mkdir -p "$LOGS"
TIMES="$LOGS/seconds"
: > "$TIMES"

part() { # NAME COMMAND...: run it and note its seconds
    running=$1
    shift
    echo "== $running"
    begin=$(date +%s)
    "$@"
    echo "$(($(date +%s) - begin)) $running" >> "$TIMES"
}

report() { # the seconds of each part, however it ended
    code=$?
    kill $background 2>/dev/null || true
    awk 'BEGIN { print "\nseconds  part" } { printf "%7d  %s\n", $1, substr($0, index($0, " ") + 1); all += $1 }
        END { printf "%7d  all parts, one after the other\n", all }' "$TIMES"
    [ $code -eq 0 ] || echo "failed: $running"
    exit $code
}
background=""
running=""
trap report EXIT

lint() { sh scripts/lint.sh; }
docs() { NO_MKDOCS_2_WARNING=1 $PYTHON -m mkdocs build --strict --quiet; }
# shellcheck disable=SC2086
measured() { $PYTHON -m pytest $COVERAGE "$@"; }
# Many of these wait for clocks and servers: one worker more than there are cores.
unit() { measured -n $((WORKERS + 1)) tests/unit; }
audit() { $PYTHON scripts/audit.py; }
# Lint, types and layers take one core, the audit waits for the registry, some unit tests wait for clocks: all
# of it at once.
checked() {
    { lint && docs && audit; } > "$LOGS/lint" 2>&1 &
    linted=$!
    tested=0
    unit || tested=$?
    failed=0
    wait $linted || failed=$?
    cat "$LOGS/lint"
    return $((tested + failed))
}
# The tests of a module share fixtures and states of lakes: they run on one worker; long modules come first.
stages() {
    measured -n "$WORKERS" tests/e2e tests/integration tests/spark --dist loadfile --no-loadscope-reorder -m "$CHOSEN" --durations 15
}

# What else tests use is fetched while the first ones run: a browser, Postgres, Azurite, and an older Spark.
fetch() { sh scripts/test_services.sh && sh scripts/spark_env.sh 3.5; }
fetched() {
    wait "$background" || { cat "$LOGS/fetch"; return 1; }
    background=""
    cat "$LOGS/fetch"
}

# shellcheck disable=SC2086
other_sessions() { # Spark Connect and Spark 3.5, at once: each is a process with a session of its own
    MANYMODELS_TEST_REMOTE='local[2]' $PYTHON -m pytest $CORE $CONNECT > "$LOGS/connect" 2>&1 &
    connect=$!
    older=0
    .venv-3.5/bin/python -m pytest $CORE $OLDER > "$LOGS/spark-3.5" 2>&1 || older=$?
    newer=0
    wait $connect || newer=$?
    echo "Spark Connect:" && cat "$LOGS/connect"
    echo "Spark 3.5:" && cat "$LOGS/spark-3.5"
    return $((older + newer))
}

coverage() { $PYTHON -m coverage report; }

part "environment" sh scripts/bootstrap.sh
if [ "${1:-}" != quick ]; then
    fetch > "$LOGS/fetch" 2>&1 &
    background=$!
fi
$PYTHON -m coverage erase
part "lint, types, layers, site of the docs, audit and unit tests" checked
[ "${1:-}" != quick ] || exit 0
part "services and Spark 3.5, fetched meanwhile" fetched
part "tests with Spark, services and processes" stages
part "core tests on Spark Connect and on Spark 3.5" other_sessions
[ -z "$COVERAGE" ] || part "coverage" coverage
