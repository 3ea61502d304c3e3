"""Reading a spec: defaults, and every mistake at once with its place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from manymodels_spark.errors import ManyModelsError, SpecError
from manymodels_spark.spec import parse_spec, read_spec
from manymodels_spark.spec.schema import json_schema
from manymodels_spark.spec.source import resolve

MINIMAL = """
name: sales
source: {csv: data.csv}
partition_by: [store]
columns: {time: date, target: units}
horizon: 7
"""


def mistakes(text: str) -> dict[str, str]:
    with pytest.raises(SpecError) as caught:
        parse_spec(text)
    return {mistake.path: mistake.message for mistake in caught.value.mistakes}


def test_five_lines_are_a_working_spec() -> None:
    spec = parse_spec(MINIMAL)
    assert spec.metric == "wape"
    assert spec.season_length == 7
    families = [candidate.family for candidate in spec.candidates]
    assert families == ["mstl", "linear", "prophet", "croston", "tsb"]
    assert spec.combine == "weighted_best_3"
    assert spec.mlflow.development.tracking != spec.mlflow.production.tracking
    assert spec.warehouse.kind == "duckdb"


def test_short_forms_say_the_same_as_long_ones() -> None:
    spec = parse_spec(
        MINIMAL + "candidates: [prophet, {theta: {season: 7}}]\nlimits: {failures: 2%, memory_per_fit: 2g}\n"
    )
    assert [(c.family, c.options) for c in spec.candidates] == [("prophet", {}), ("theta", {"season": 7})]
    assert spec.limits.failures == 0.02
    assert spec.limits.memory_per_fit == 2048


def test_every_mistake_is_reported_at_once() -> None:
    text = (
        MINIMAL.replace("horizon: 7", "horizon: 0")
        + "task: forcast\nbacktest: {metrik: wape}\nlimits: {failures: 3}\n"
    )
    found = mistakes(text)
    assert set(found) == {"horizon", "task", "backtest.metrik", "limits.failures"}
    assert "Did you mean 'forecast'?" in found["task"]
    assert "Did you mean 'metric'?" in found["backtest.metrik"]


def test_a_mistake_shows_its_line() -> None:
    with pytest.raises(SpecError, match="line 6:   horizon: 0"):
        parse_spec(MINIMAL.replace("horizon: 7", "horizon: 0"))


@pytest.mark.parametrize(
    ("change", "path", "words"),
    [
        ("frequency: Q3", "columns.frequency", "unknown frequency 'Q3'"),
        ("knwon_future: [a]", "columns.knwon_future", "Did you mean 'known_future'?"),
    ],
)
def test_mistakes_inside_columns_name_their_place(change: str, path: str, words: str) -> None:
    found = mistakes(MINIMAL.replace("target: units}", f"target: units, {change}}}"))
    assert words in found[path]


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("promote: {all: [{metric: wape}]}", "either `below` or `above`"),
        ("promote: {all: [{rows: 3, folds: 2}]}", "exactly one of"),
        ("promote: {all: [{coverage: 80}]}", "requires its bounds"),
        ("warehouse: {duck: a.db}", "names no known kind"),
        ("source: {ftp: x}", "names no known kind"),
        ("name: Retail Sales", "does not have the form"),
        ("backtest: {metric: accuracy}", "does not fit task forecast"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_was_expected(extra: str, words: str) -> None:
    head = extra.split(":")[0]
    text = "\n".join(line for line in MINIMAL.splitlines() if not line.startswith(f"{head}:")) + "\n" + extra
    assert any(words in message for message in mistakes(text).values())


def test_hints_under_a_kind_offer_that_kinds_options_only() -> None:
    said = mistakes(MINIMAL.replace("{csv: data.csv}", "{jdbc: {url: x, path: y}}"))["source.jdbc.path"]
    assert "url" in said and "wide" not in said and "'path'" not in said
    files = mistakes(MINIMAL.replace("{csv: data.csv}", "{csv: {path: x, optionz: {}}}"))[
        "source.csv.optionz"
    ]
    assert "Did you mean 'options'?" in files and "fetch_size" not in files


def test_a_mistake_under_a_kind_is_named_with_it_as_it_stands_in_the_file() -> None:
    text = MINIMAL.replace("{csv: data.csv}", "{jdbc: {url: x, bad: 1}}")
    text += "stream: {kafka: {servers: s, topic: t, bad: 1}}\nwarehouse: {postgres: {url: x, bad: 1}}\n"
    assert set(mistakes(text)) == {"source.jdbc.bad", "stream.kafka.bad", "warehouse.postgres.bad"}


def test_a_column_in_two_roles_is_a_mistake() -> None:
    assert "two roles" in str(mistakes(MINIMAL.replace("target: units", "target: store")))


@pytest.mark.parametrize(
    ("old", "new"),
    [("store", "family"), ("store", "Key"), ("store", "lower_80"), ("date", "cutoff"), ("units", "bucket")],
)
def test_a_column_that_the_tables_have_themselves_is_a_mistake_that_says_how_to_rename_it(
    old: str, new: str
) -> None:
    said = str(mistakes(re.sub(rf"\b{old}\b", new, MINIMAL)))
    assert f"column {new}: tables of this package have" in said and f"`rename: {{{new}: {new}_name}}`" in said


def test_a_forecast_without_a_time_column_is_a_mistake() -> None:
    assert "columns.time" in str(mistakes(MINIMAL.replace("time: date, ", "")))


def test_text_that_is_no_yaml_names_the_line() -> None:
    with pytest.raises(SpecError, match=r"not valid YAML: expected ',' or ']'[^\n]*\n      line 2:   b: c"):
        parse_spec("name: [a\nb: c")
    with pytest.raises(SpecError, match=r"line 3:   items: \[1"):
        parse_spec("name: a\nb: c\nitems: [1\n\n\n")


def test_a_missing_file_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot be read"):
        read_spec(tmp_path / "none.yaml")


def test_variables_are_resolved_at_use_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALES_PASSWORD", "hunter2")
    spec = parse_spec(
        MINIMAL.replace("{csv: data.csv}", '{jdbc: {url: "jdbc:x", table: t, password: "${SALES_PASSWORD}"}}')
    )
    assert "hunter2" not in spec.model_dump_json()
    assert resolve("${SALES_PASSWORD}") == "hunter2"
    assert resolve("${NOT_SET:-fallback}") == "fallback"
    with pytest.raises(ManyModelsError, match="NOT_SET is not set"):
        resolve("${NOT_SET}")


def test_the_schema_names_every_key_of_the_spec() -> None:
    schema = json_schema()
    assert {"name", "source", "partition_by", "columns", "horizon", "candidates", "mlflow"} <= set(
        schema["properties"]
    )
    assert schema["required"] == ["name", "partition_by", "source", "columns"]


@pytest.mark.parametrize("rule", ["last", "sum", "mean", "error"])
def test_late_rows_go_with_every_rule_since_what_is_read_twice_is_kept_once(rule: str) -> None:
    late = "{jdbc: {url: jdbc:x, table: sales, watermark: updated_at, late: 2d}}"
    text = MINIMAL.replace("{csv: data.csv}", late)
    assert parse_spec(f"{text}prepare: {{duplicates: {rule}}}\n").prepare.duplicates == rule
