"""Which column has which role: time, target, key of the partitions, by names and values."""

from __future__ import annotations

from collections.abc import Sequence

from manymodels_spark.discover.columns import Column, quote, sounds_like_time, words_of
from manymodels_spark.discover.questions import Answers, Question
from manymodels_spark.discover.sample import Sample
from manymodels_spark.errors import SourceError

TASKS = ("forecast", "regression", "classification")
_BOOKKEEPING = {"created", "updated", "modified", "ingested", "loaded", "inserted", "changed", "deleted"}
_TARGETS = (
    ("target", "y", "label", "failure", "fault", "churn", "outcome"),
    ("sales", "units", "qty", "quantity", "demand", "count", "orders", "sold", "covers",
    "passengers", "visitors",
     "rides", "trips", "volume", "load", "consumption", "kwh", "mwh", "menge", "absatz",
     "cantidad", "ventas", "ventes", "unidades", "verkauf", "bookings", "calls", "footfall",
     "production", "users", "visits", "flights", "riders", "number"),
    ("revenue", "umsatz", "amount", "turnover", "value", "total", "cnt", "wert", "valor", "importe", "power"),
)  # fmt: skip
_INPUTS = {
    "temp", "temperature", "hum", "humidity", "wind", "windspeed", "weather", "rain",
    "price", "preis", "precio", "discount", "promo", "promotion", "holiday",
    "workingday", "weekday", "lat", "lon", "latitude", "longitude",
}  # fmt: skip
_LABELS = {
    "label",
    "class",
    "target",
    "failure",
    "fault",
    "status",
    "state",
    "outcome",
    "churn",
    "species",
    "y",
    "grade",
}
_KEYS = {
    "id", "store", "shop", "item", "sku", "product", "code", "no", "nr", "key", "branch", "site",
    "region", "customer",
    "sensor", "device", "station", "meter", "franchise", "well", "machine", "filiale", "artikel",
    "tienda", "articulo",
    "dept", "department", "category", "plant", "zone", "series", "location", "line", "unit", "channel",
}  # fmt: skip
_COUNTRY = {"country", "land", "pais", "pays", "nation", "state", "region"}
MOST_LABELS = 50


def time_of(columns: Sequence[Column], answers: Answers) -> Column | None:
    """The column of times; None where there is none, and where the answer is `none`."""
    found = sorted((one for one in columns if one.kind == "time"), key=_time_rank)
    options = (*(one.name for one in found), "none")
    if not found:
        answers.given_or("time", "none", options)
        return None
    likely = [one for one in found if not _BOOKKEEPING & set(words_of(one.name))] or found
    if len(likely) == 1:
        name = answers.given_or("time", likely[0].name, options)
    else:
        why = f"{', '.join(one.name for one in likely)} hold times"
        question = Question(
            "time", "Which column is the time that is forecast along?", likely[0].name, why, options
        )
        name = answers.get(question)
    return next((one for one in found if one.name == name), None)


def _time_rank(column: Column) -> tuple[bool, bool]:
    return bool(_BOOKKEEPING & set(words_of(column.name))), not sounds_like_time(column.name)


def task_of(columns: Sequence[Column], time: Column | None, answers: Answers) -> str:
    """`forecast` where there are times and numbers to forecast, else by what the target is."""
    labels = [one for one in columns if _is_label(one)]
    numbers = [one for one in columns if one.is_number and _target_rank(one) < len(_TARGETS)]
    if time is not None and not (labels and not numbers):
        return answers.given_or("task", "forecast", TASKS)
    if time is None:
        table = "classification" if labels else "regression"
        return answers.given_or("task", table, TASKS)
    why = f"{labels[0].name} holds {labels[0].distinct} different labels, and no number has a target's name"
    return answers.get(Question("task", "What is to be predicted?", "classification", why, TASKS))


def _is_label(column: Column) -> bool:
    named = bool(_LABELS & set(words_of(column.name)))
    return named and column.kind in ("text", "bool", "integer") and 2 <= column.distinct <= MOST_LABELS


def target_of(columns: Sequence[Column], time: Column | None, task: str, answers: Answers) -> Column:
    """The column to predict. Raises SourceError where no column can be."""
    others = [one for one in columns if one is not time]
    fitting = [one for one in others if _can_be(one, task)]
    if not fitting:
        has = ", ".join(f"{one.name} ({one.kind})" for one in columns)
        raise SourceError(f"no column to predict: a {task} requires {_NEEDS[task]}. The columns are {has}")
    ranked = sorted(fitting, key=lambda one: (_rank(one, task), -columns.index(one)))
    best = [one for one in ranked if _rank(one, task) == _rank(ranked[0], task)]
    options = tuple(one.name for one in fitting)
    if len(best) == 1:
        name = answers.given_or("target", best[0].name, options)
    else:
        why = f"{', '.join(one.name for one in reversed(best))} are alike in name and kind"
        name = answers.get(Question("target", "Which column is to be predicted?", best[0].name, why, options))
    return next(one for one in fitting if one.name == name)


_NEEDS = {
    "forecast": "a column of numbers",
    "regression": "a column of numbers",
    "classification": f"a column of 2 to {MOST_LABELS} different labels",
}


def _can_be(column: Column, task: str) -> bool:
    if task == "classification":
        return column.kind in ("text", "bool", "integer") and 2 <= column.distinct <= MOST_LABELS
    if column.name.startswith("_c") and column.name[2:].isdigit():  # a column without a name
        return False
    return column.is_number and not set(words_of(column.name)) & {"id", "key", "code"}


def _rank(column: Column, task: str) -> int:
    if task == "classification":
        return 0 if _is_label(column) else 1
    key_like = column.kind == "integer" and sounds_like_key(column)
    return _target_rank(column) if not key_like or _target_rank(column) == 0 else len(_TARGETS) + 1


def _target_rank(column: Column) -> int:
    words = set(words_of(column.name))
    if words & _INPUTS or sounds_like_time(column.name):
        return len(_TARGETS) + 2
    return next((rank for rank, known in enumerate(_TARGETS) if words & set(known)), len(_TARGETS))


def sounds_like_key(column: Column) -> bool:
    """Whether a name says that the column tells series apart."""
    words = words_of(column.name)
    return bool(set(words) & _KEYS) or any(word.endswith("id") for word in words)


def key_candidates(columns: Sequence[Column], roles: Sequence[Column | None], rows: int) -> list[Column]:
    """Columns that partitions may be told apart by, the likeliest last: text and what is named as a key."""
    free = [one for one in columns if one not in roles and one.distinct > 1]
    named = [one for one in free if one.kind in ("text", "integer") and sounds_like_key(one)]
    texts = [one for one in free if one.kind == "text" and one not in named]
    usable = [one for one in [*texts, *named] if one.distinct <= max(rows // 2, 1)]
    return sorted(usable, key=lambda one: (not _is_place(one), one in named, one.distinct))


def _is_place(column: Column) -> bool:
    return bool(set(words_of(column.name)) & _COUNTRY)


def smallest_key(sample: Sample, time: str, candidates: Sequence[Column]) -> tuple[list[Column], int]:
    """The smallest set of the candidates that makes time as unique as all of them do, and how many rows still
    repeat a time; columns are left out one by one, the least likely first.
    """
    kept = list(candidates)
    repeats = _repeats(sample, time, kept)
    for column in candidates:
        fewer = [one for one in kept if one is not column]
        if _repeats(sample, time, fewer) <= repeats:
            kept = fewer
    order = list(sample.columns)
    return sorted(kept, key=lambda one: order.index(one.name)), repeats


def more_keys(
    columns: Sequence[Column], roles: Sequence[Column | None], known: Sequence[Column]
) -> list[Column]:
    """Whole numbers without a key's name, which are tried as keys where the others do not suffice."""
    free = [one for one in columns if one not in roles and one not in known and one.distinct > 1]
    return sorted((one for one in free if one.kind in ("integer", "bool")), key=lambda one: one.distinct)


def _repeats(sample: Sample, time: str, columns: Sequence[Column]) -> int:
    names = ", ".join([time, *(one.quoted for one in columns)])
    row = sample.one(
        f"SELECT count(*) - (SELECT count(*) FROM (SELECT DISTINCT {names} FROM sample)) FROM sample"
    )
    return int(row[0])


def partitions(sample: Sample, keys: Sequence[Column]) -> int:
    """How many combinations of the keys there are."""
    if not keys:
        return 1
    names = ", ".join(one.quoted for one in keys)
    return int(sample.one(f"SELECT count(*) FROM (SELECT DISTINCT {names} FROM sample)")[0])


def constant_within(sample: Sample, keys: Sequence[Column], columns: Sequence[Column]) -> list[Column]:
    """The columns that have one value in each partition."""
    if not columns or not keys:
        return []
    by = ", ".join(one.quoted for one in keys)
    counts = ", ".join(f"max(n{number})" for number in range(len(columns)))
    inner = ", ".join(f"count(DISTINCT {one.quoted}) AS n{number}" for number, one in enumerate(columns))
    row = sample.one(f"SELECT {counts} FROM (SELECT {inner} FROM sample GROUP BY {by})")
    return [column for column, most in zip(columns, row, strict=True) if most is not None and most <= 1]


def place_of(sample: Sample, columns: Sequence[Column]) -> tuple[Column, list[str]] | None:
    """A column of countries or regions as the package `holidays` names them, and its values."""
    from manymodels_spark.families.public_holidays import mistake

    for column in columns:
        if column.kind != "text" or not 1 <= column.distinct <= 300 or not _is_place(column):
            continue
        values = [
            str(row[0]) for row in sample.all(f"SELECT DISTINCT {quote(column.name)} FROM sample ORDER BY 1")
        ]
        codes = all(2 <= len(value) <= 6 and value[:2].isupper() for value in values)
        if codes and not any(mistake(value) for value in values):
            return column, values
    return None
