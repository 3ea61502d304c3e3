"""How times are written, in the patterns of Spark and of DuckDB: the forms that `init` knows."""

from __future__ import annotations

ISO, ZONED, NANOSECONDS = "iso", "zoned", "nanoseconds"
EPOCHS = ("epoch_seconds", "epoch_milliseconds")
_DAYS = {
    "d.M.yyyy": "%d.%m.%Y", "d/M/yyyy": "%d/%m/%Y", "M/d/yyyy": "%m/%d/%Y", "d-M-yyyy": "%d-%m-%Y",
    "M-d-yyyy": "%m-%d-%Y", "yyyy/M/d": "%Y/%m/%d", "yyyy.M.d": "%Y.%m.%d", "d.M.yy": "%d.%m.%y",
    "d/M/yy": "%d/%m/%y",
    "M/d/yy": "%m/%d/%y", "d MMM yyyy": "%d %b %Y", "d-MMM-yyyy": "%d-%b-%Y", "d-MMM-yy": "%d-%b-%y",
    "MMM d, yyyy": "%b %d, %Y", "yyyyMMdd": "%Y%m%d",
}  # fmt: skip
_CLOCKS = {"H:mm": "%H:%M", "H:mm:ss": "%H:%M:%S", "h:mm a": "%I:%M %p", "h:mm:ss a": "%I:%M:%S %p"}
_MONTHS = {
    "yyyy-MM": "%Y-%m", "yyyy/MM": "%Y/%m", "yyyy.MM": "%Y.%m", "M/yyyy": "%m/%Y", "M.yyyy": "%m.%Y",
    "MMM yyyy": "%b %Y", "MMM-yyyy": "%b-%Y", "MMM-yy": "%b-%y", "yyyyMM": "%Y%m", "yyyy": "%Y",
}  # fmt: skip
QUARTER, WEEK = "quarter", "week"
_QUARTER = r"^\s*(\d{4})[- ]?[Qq]([1-4])\s*$"
_WEEK = r"^\s*(\d{4})-?W(\d{1,2})\s*$"
_ZONE = r"(Z|[+-]\d{2}:?\d{2})$"
_FORMATS = {
    **_DAYS,
    **{f"{day} {clock}": f"{_DAYS[day]} {_CLOCKS[clock]}" for day in _DAYS for clock in _CLOCKS},
    **_MONTHS,
}
FORMS = (*_FORMATS, QUARTER, WEEK)


def moment(column: str, form: str) -> str:
    """DuckDB's SQL for the TIMESTAMP that a column's text or number says in a form, else null."""
    text = f"trim(CAST({column} AS VARCHAR))"
    if form == ISO:
        return (
            f"try_cast(CASE WHEN regexp_matches({text}, '^\\d{{4}}-\\d\\d?-') THEN {text} END AS TIMESTAMP)"
        )
    if form == ZONED:
        return _zoned(text)
    if form in EPOCHS:
        scale = 1000 if form == "epoch_seconds" else 1
        return f"epoch_ms(CAST(try_cast({column} AS DOUBLE) * {scale} AS BIGINT))"
    if form == QUARTER:
        year, number = (f"regexp_extract({text}, '{_QUARTER}', {group})" for group in (1, 2))
        return f"try_strptime({year} || '-' || (try_cast({number} AS INTEGER) * 3 - 2), '%Y-%m')"
    if form == WEEK:
        year, number = (f"regexp_extract({text}, '{_WEEK}', {group})" for group in (1, 2))
        return f"try_strptime({year} || '-W' || lpad({number}, 2, '0') || '-1', '%G-W%V-%u')"
    return f"try_strptime({text}, '{_FORMATS[form]}')"


def _zoned(text: str) -> str:
    """The instant of text that ends with its distance from UTC."""
    zone = f"regexp_extract({text}, '{_ZONE}', 1)"
    minutes = (
        f"(try_cast(substr({zone}, 2, 2) AS INTEGER) * 60 + try_cast(right({zone}, 2) AS INTEGER)) * "
        f"CASE WHEN {zone}[1] = '-' THEN -1 ELSE 1 END"
    )
    wall = f"try_cast(regexp_replace({text}, '{_ZONE}', '') AS TIMESTAMP)"
    offset = f"CASE WHEN {zone} = 'Z' THEN 0 WHEN {zone} = '' THEN NULL ELSE {minutes} END"
    dated = f"regexp_matches({text}, '^\\d{{4}}-\\d\\d?-.*:')"
    return f"CASE WHEN {dated} THEN {wall} - to_minutes({offset}) END"
