"""The spec of a finding as commented YAML, which runs as it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from manymodels_spark.discover.finding import Finding
from manymodels_spark.discover.keys import LEAST_ROWS
from manymodels_spark.discover.questions import GIVEN, GUESSED
from manymodels_spark.discover.time_forms import ISO

_WIDTH = 110


def spec_text(found: Finding, written: Path | None = None) -> str:
    """The YAML text; `written` is the file that it goes to, whose folder the stages are run from."""
    lines = [
        f"# Written by `manymodels init` from {found.sample.name}. Every key: docs/spec.md",
        *_comments(_unsure(found)),
        f"name: {found.name}",
        f"task: {found.task}",
        f"partition_by: {_flow([one.name for one in found.keys.columns])}{_counted(found)}",
        "",
        *_source(found),
        "",
        *_columns(found),
        *_prepare(found),
        *_ahead(found),
    ]
    return "\n".join(lines) + "\n"


def _comments(texts: Iterator[str]) -> list[str]:
    return [f"# {text}" for text in texts]


def _unsure(found: Finding) -> Iterator[str]:
    """What was guessed, and what else is to be known."""
    for one in found.answers.log:
        if one.origin != GIVEN and one.question.text:
            how = "guessed" if one.origin == GUESSED else "answered"
            answer = one.answer or "no column"
            yield f"{how.upper()}: {one.question.key} is {answer}, since {one.question.why}."
    if not found.sample.whole:
        yield f"Only the first {found.sample.rows:,} rows were looked at: the source is larger."
    if found.time is not None and found.time.bad:
        name = found.time.name
        yield f"{found.time.bad:,} values of {name} are no such times; their partitions are set aside."
    yield from found.sample.notes


def _counted(found: Finding) -> str:
    lengths = found.shape.lengths
    count = f"{found.keys.partitions:,} partition{'s' if found.keys.partitions != 1 else ''}"
    span = f"{lengths.shortest:,}" + (
        f" to {lengths.longest:,}" if lengths.longest > lengths.shortest else ""
    )
    of = f" of {span} rows" if lengths.bins else ""
    looked = "" if found.sample.whole else " in the sample"
    return f"    # {count}{of}{looked}"


def _source(found: Finding) -> list[str]:
    part = dict(found.sample.options)
    commas = [one.name for one in found.columns if one.comma]
    if commas:
        part["decimal_comma"] = commas
    if found.time is not None and found.time.form not in ("", ISO):
        part["time_format"] = found.time.form
    kind = found.sample.kind
    if list(part) == ["path"]:
        return [f"source: {{{kind}: {_scalar(part['path'])}}}"]
    body = [f"    {key}: {_flow(value)}{_HINTS.get(key, '')}" for key, value in part.items()]
    return ["source:", f"  {kind}:", *body]


_HINTS = {
    "melt": "    # a row per value: each other column's name goes to `name`",
    "decimal_comma": "    # columns that write 1.234,5",
    "time_format": "    # as Spark's datetime patterns",
    "password": "    # set both in the environment",
}


def _columns(found: Finding) -> list[str]:
    lines = ["columns:", f"  target: {_scalar(found.target.name)}{_range(found)}"]
    if found.time is not None:
        lines.append(f"  time: {_scalar(found.time.name)}    # {found.shape.first} to {found.shape.last}")
        lines.append(f"  frequency: {found.frequency}{_regular(found)}")
    if found.task == "forecast":
        lines += _forecast_inputs(found)
    else:
        lines += _table_inputs(found)
    return lines


def _range(found: Finding) -> str:
    if not found.target.is_number:
        return f"    # {found.target.distinct} labels"
    numbers = "whole numbers" if found.shape.whole else "numbers"
    return f"    # {numbers} from {found.target.low:.10g} to {found.target.high:.10g}"


def _regular(found: Finding) -> str:
    rhythm = found.rhythm
    if rhythm is None or not rhythm.known:
        return ""
    return f"    # {rhythm.regular:.1%} of steps, {rhythm.gaps:,} missing"


def _forecast_inputs(found: Finding) -> Iterator[str]:
    place = found.place
    if place is not None and len(place[1]) == 1:
        yield f"  holidays: {place[1][0]}    # the only value of {place[0].name}"
    elif place is not None:
        if place[0] not in found.keys.columns:
            yield f"  static: {_flow([place[0].name])}"
        yield f"  holidays: {{column: {_scalar(place[0].name)}}}    # {', '.join(place[1][:6])}"
    still = [one.name for one in found.static if place is None or one is not place[0]]
    if still:
        yield f"  # static (one value in each partition): {_flow(still)}"
    numbers = [one.name for one in found.varying if one.is_number or one.kind == "bool"]
    inputs = [name for name in numbers if not _is_row_id(found, name)]
    if inputs:
        yield "  # Columns that are known for the days to come (prices, promotions) are inputs of a model,"
        yield "  # where `prepare.calendar` has them for these days:"
        yield f"  # known_future: {_flow(inputs)}"


def _table_inputs(found: Finding) -> Iterator[str]:
    features = [one.name for one in found.varying if one.kind != "time" and one.distinct > 1]
    features = [name for name in features if not _is_row_id(found, name)]
    if features:
        yield f"  features: {_flow(features)}"
    if found.static:
        yield f"  # static (one value in each partition): {_flow([one.name for one in found.static])}"


def _is_row_id(found: Finding, name: str) -> bool:
    """Whether a column of text or whole numbers has another value in each row."""
    column = next(one for one in found.columns if one.name == name)
    return column.kind in ("text", "integer") and column.distinct == found.sample.rows


def _prepare(found: Finding) -> Iterator[str]:
    rules = list(_rules(found))
    if rules:
        yield from ("", "prepare:", *(f"  {rule}" for rule in rules))


def _rules(found: Finding) -> Iterator[str]:
    rhythm, shape = found.rhythm, found.shape
    if found.task != "forecast" or rhythm is None:
        return
    if found.keys.repeats:
        yield f"duplicates: sum    # {found.keys.repeats:,} rows repeat a time"
    if shape.gaps:
        never_zero = shape.zeros == 0 and shape.whole and not shape.negatives
        why = (
            "no row has a 0: a missing one is taken for one"
            if never_zero
            else "or zero, where a missing row is a 0"
        )
        yield f"gaps: {'zero' if never_zero else 'leave'}    # {shape.gaps:,} missing times; {why}"
    if rhythm.closed_by_partition:
        yield "closed: auto    # partitions have weekdays without rows, and not all the same ones"
    elif rhythm.closed:
        yield f"closed: {_flow(list(rhythm.closed))}    # no partition ever has a row on these"
    if found.timezone != "UTC":
        yield f"timezone: {found.timezone}    # on whose clock days are counted"


def _ahead(found: Finding) -> Iterator[str]:
    if found.task != "forecast":
        return
    yield from (
        "",
        f"horizon: {found.horizon}    # how many steps ahead; models are judged by three former spans of it",
    )
    if found.target.low is not None and found.target.low >= 0:
        yield "predict: {minimum: 0}    # no value is below 0"
    if found.shape.lengths.shortest < max(LEAST_ROWS, 2 * found.horizon):
        yield "fallback: seasonal_naive    # for partitions that are too short for a test"


def _flow(value: Any) -> str:
    """A value on one line."""
    return (
        yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True, sort_keys=False)
        .removesuffix("\n...\n")
        .strip()
    )


def _scalar(value: str) -> str:
    return _flow(value)
