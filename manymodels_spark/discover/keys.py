"""The columns that partitions are told apart by, of a forecast and of a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from manymodels_spark.discover import roles
from manymodels_spark.discover.columns import Column
from manymodels_spark.discover.questions import Answers, Question, names
from manymodels_spark.discover.sample import Sample
from manymodels_spark.errors import SourceError

# A partition of fewer rows than this (on the mean) is too short for a model of its own.
LEAST_ROWS = 10
# More rows than this that repeat a time are no slips: the rows are parts of a whole.
_SLIPS = 0.01


@dataclass(frozen=True)
class Keys:
    """The partition columns, how many partitions they make in the sample, and the rows that repeat a time."""

    columns: list[Column]
    partitions: int
    repeats: int


def forecast_keys(
    sample: Sample, columns: Sequence[Column], time: Column | None, target: Column, answers: Answers
) -> Keys:
    """The smallest set of columns that makes time unique; asked for where that is not sure."""
    when, taken = (time.quoted if time else "NULL"), [time, target]
    likely = roles.key_candidates(columns, taken, sample.rows)
    found, repeats = roles.smallest_key(sample, when, likely)
    if repeats > _SLIPS * sample.rows:
        wider = [*roles.more_keys(columns, taken, likely), *likely]
        more, fewer = roles.smallest_key(sample, when, wider)
        if fewer <= _SLIPS * sample.rows and roles.partitions(sample, more) * LEAST_ROWS <= sample.rows:
            found, repeats = more, fewer
    count = roles.partitions(sample, found)
    guess = _fewer(sample, found) if count * LEAST_ROWS > sample.rows and len(found) > 0 else found
    options = tuple(one.name for one in columns if one not in taken)
    if guess is found and repeats <= _SLIPS * sample.rows:
        answer = answers.given_or("partition_by", ", ".join(one.name for one in found), options)
    else:
        answer = answers.get(_question(sample, found, guess, count, repeats, options))
    if answer == ", ".join(one.name for one in found):
        return Keys(found, count, repeats)
    chosen = [_named(columns, name) for name in names(answer)]
    left = roles.smallest_key(sample, when, [])[1] if not chosen else _repeats(sample, when, chosen)
    return Keys(chosen, roles.partitions(sample, chosen), left)


def named_series(columns: Sequence[Column], keys: Keys) -> Keys:
    """A lone series by the column that says its name, where there is one."""
    constant = (one for one in columns if one.distinct == 1 and one.nulls == 0 and roles.sounds_like_key(one))
    return next((Keys([one], 1, keys.repeats) for one in constant), keys)


def _repeats(sample: Sample, when: str, chosen: Sequence[Column]) -> int:
    listed = ", ".join([when, *(one.quoted for one in chosen)])
    distinct = sample.one(f"SELECT count(*) FROM (SELECT DISTINCT {listed} FROM sample)")[0]
    return sample.rows - int(distinct)


def _fewer(sample: Sample, found: list[Column]) -> list[Column]:
    """The key without its columns of most values, until partitions are long enough."""
    kept = list(found)
    while kept and roles.partitions(sample, kept) * LEAST_ROWS > sample.rows:
        kept.remove(max(kept, key=lambda one: one.distinct))
    return kept


def _question(
    sample: Sample,
    found: list[Column],
    guess: list[Column],
    count: int,
    repeats: int,
    options: tuple[str, ...],
) -> Question:
    named = ", ".join(one.name for one in found) or "no column"
    if guess is not found:
        left = [one.name for one in found if one not in guess]
        why = (
            f"{named} makes {count:,} partitions of {sample.rows / max(count, 1):.1f} rows on the mean, "
            f"too few for a model each. Without {', '.join(left)} rows of the same time are added up"
        )
    else:
        why = f"{repeats:,} of {sample.rows:,} rows repeat a time by {named}: they are added up"
    answer = ", ".join(one.name for one in guess)
    return Question("partition_by", "Which columns tell the series apart?", answer, why, options)


def table_keys(
    sample: Sample, columns: Sequence[Column], time: Column | None, target: Column, answers: Answers
) -> Keys:
    """The columns that tables are cut by: what is named as a key and leaves enough rows to each.

    Raises SourceError where no column can be.
    """
    likely = roles.key_candidates(columns, [time, target], sample.rows)
    enough = [one for one in likely if one.distinct * LEAST_ROWS <= sample.rows]
    options = tuple(one.name for one in columns if one not in (time, target))
    if not enough and "partition_by" not in answers.given:
        raise SourceError(
            f"{sample.name} has no column to tell partitions apart ({LEAST_ROWS} rows or more a value): one "
            "model for each value of a column is what this package makes. It has: "
            f"{', '.join(options)}. Name one with --by"
        )
    guess = enough[-1].name if enough else ""
    if len(enough) == 1:
        answer = answers.given_or("partition_by", guess, options)
    else:
        why = f"{', '.join(one.name for one in enough)} may tell them apart"
        answer = answers.get(Question("partition_by", "One model for each what?", guess, why, options))
    chosen = [_named(columns, name) for name in names(answer)]
    return Keys(chosen, roles.partitions(sample, chosen), 0)


def _named(columns: Sequence[Column], name: str) -> Column:
    return next(one for one in columns if one.name == name)
