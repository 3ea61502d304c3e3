"""CSV and JSON files: what the first bytes are, how they are encoded and separated, and reading them.

All columns of a CSV file are read as text, so that `007` stays and `1.234,5` can be looked at.
"""

from __future__ import annotations

import glob
import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from manymodels_spark.errors import SourceError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

HEAD = 1_000_000
_SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_NO_TEXT = {
    b"PK\x03\x04": "a zip archive or an Excel workbook. Save the sheet as CSV, or unpack the archive",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook. Save the sheet as CSV",
    b"SQLite format 3": "an SQLite database, which Spark has no driver for. Write the table to a file: "
    "sqlite3 -header -csv FILE 'SELECT * FROM TABLE' > table.csv",
    b"%PDF": "a PDF. Give the data as CSV, JSON or Parquet",
    b"\x89HDF": "an HDF5 file. Write it as Parquet: pandas.read_hdf(...).to_parquet(...)",
}


@dataclass(frozen=True)
class Head:
    """The first megabyte of a file: its text, its encoding as DuckDB names it, and the kind that it shows."""

    path: Path
    text: str
    encoding: str
    kind: str | None = None

    @classmethod
    def of(cls, path: Path) -> Head:
        """Look at a file. Raises SourceError where it is binary, with what it is and what to do."""
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rb") as file:
            raw = file.read(HEAD)
        if raw.startswith(b"PAR1"):
            return cls(path, "", "", "parquet")
        for magic, what in _NO_TEXT.items():
            if raw.startswith(magic):
                raise SourceError(f"{path} is {what}")
        if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
            return cls(path, raw.decode("utf-16", "replace"), "utf-16")
        if b"\x00" in raw:
            raise SourceError(
                f"{path} is binary and of no known kind. CSV, JSON, Parquet, a Delta table or a database's "
                "URL is expected"
            )
        text, encoding = _decoded(raw)
        if not text.strip():
            raise SourceError(
                f"{path} is empty: there is nothing but blanks. Give a file with a header and rows"
            )
        return cls(path, text, encoding, "json" if text.lstrip()[:1] in "[{" else None)


def _decoded(raw: bytes) -> tuple[str, str]:
    for cut in range(4):  # the last character may be cut in two
        try:
            return raw[: len(raw) - cut].decode("utf-8-sig"), "utf-8"
        except UnicodeDecodeError:
            continue
    return raw.decode("latin-1"), "latin-1"


def suffix(path: Path) -> str:
    """The ending that says the kind: `.csv` of `sales.csv.gz`."""
    return Path(path.stem).suffix.lower() if path.suffix == ".gz" else path.suffix.lower()


def listing(path: Path, given: str, endings: tuple[str, ...]) -> list[Path]:
    """The files of a path, folder or glob. Raises SourceError where there is none."""
    if path.is_file():
        return [path]
    inside = (
        sorted(path.rglob("*"))
        if path.is_dir()
        else [Path(one) for one in sorted(glob.glob(given, recursive=True))]
    )
    files = [one for one in inside if one.is_file() and not one.name.startswith(("_", "."))]
    known = [one for one in files if suffix(one) in endings] if path.is_dir() else files
    if not known:
        what = "a folder without CSV, JSON or Parquet files" if path.is_dir() else "not there"
        raise SourceError(f"{given} is {what}. A file, a folder, a glob or a database's URL is expected")
    first = suffix(known[0])
    return [one for one in known if suffix(one) == first]


def read_csv(db: DuckDBPyConnection, files: list[Path], head: Head, bound: str) -> dict[str, str]:
    """Make table `sample` of CSV files. Returns the options that Spark requires to read them alike.

    Raises SourceError where the first line holds no names.
    """
    separator = _separator(head)
    names = _header(head, separator)
    db.execute("SET VARIABLE files = $1", [[str(file) for file in files]])
    options = f"delim={_literal(separator)}, header=true, all_varchar=true, quote='\"', escape='\"', "
    options += f"encoding={_literal(head.encoding)}, union_by_name=true, null_padding=true, strict_mode=false"
    db.execute(f"CREATE TABLE sample AS SELECT * FROM read_csv(getvariable('files'), {options}){bound}")
    _name_as_spark(db, names)
    spark = {} if separator == "," else {"sep": separator}
    if head.encoding != "utf-8":
        spark["encoding"] = {"latin-1": "ISO-8859-1", "utf-16": "UTF-16"}[head.encoding]
    if any(name != name.strip() for name in names):
        raise SourceError(
            f"{head.path}: names of columns have blanks around them. Remove these from the header"
        )
    if null := _null_word(db):
        spark["nullValue"] = null
    return spark


def _name_as_spark(db: DuckDBPyConnection, names: list[str]) -> None:
    """Give a column without a name, such as the index that pandas writes, the name that Spark gives it."""
    present = [str(row[0]) for row in db.execute("DESCRIBE sample").fetchall()]
    if len(present) == len(names):
        for number, (name, own) in enumerate(zip(names, present, strict=True)):
            if not name.strip():
                quoted = own.replace('"', '""')
                db.execute(f'ALTER TABLE sample RENAME COLUMN "{quoted}" TO _c{number}')


def _separator(head: Head) -> str:
    """The separator that cuts the first lines into equally many parts, and the most."""
    lines = [line for line in head.text.splitlines()[:50] if line.strip()]
    lines = lines[:-1] if len(lines) > 2 else lines
    counts = {one: [line.count(one) for line in lines] for one in _SEPARATORS}
    steady = {one: min(found) for one, found in counts.items() if min(found) > 0}
    # `1,5;2,5`: decimal commas are as steady as semicolons, but the header has none.
    named = {one: count for one, count in steady.items() if lines[0].count(one) == max(counts[one])} or steady
    if not named:
        raise SourceError(
            f"{head.path} is text, but no table: its lines have no separator in common (looked for "
            f"{', '.join(_SEPARATORS.values())}), or hold one column only. A header and rows with a time and "
            f"a value are expected. It begins: {lines[0][:80]!r}"
        )
    return max(named, key=lambda one: named[one])


def _header(head: Head, separator: str) -> list[str]:
    first = head.text.splitlines()[0].split(separator)
    names = [name.strip('"') for name in first]
    if any(name and _is_value(name) for name in names) and not all(_is_value(name) for name in names[1:]):
        raise SourceError(
            f"{head.path} has no header: its first line holds values ({', '.join(names[:5])}). Write the "
            "names of the columns in the first line"
        )
    return names


def _is_value(name: str) -> bool:
    text = name.strip().replace(",", ".")
    return not text or text.replace(".", "", 1).replace("-", "").replace(":", "").replace(" ", "").isdigit()


def _null_word(db: DuckDBPyConnection) -> str | None:
    """The word that stands where a number is missing, such as NA: the most frequent one, if there is one."""
    columns = [str(row[0]) for row in db.execute("DESCRIBE sample").fetchall()]
    found: dict[str, int] = {}
    for name in columns:
        quoted = '"' + name.replace('"', '""') + '"'
        words = "('NA', 'N/A', 'n/a', 'NULL', 'null', '-', '?', 'None', 'nan')"
        rows = db.execute(
            f"SELECT {quoted}, count(*) FROM sample WHERE {quoted} IN {words} GROUP BY 1"
        ).fetchall()
        for word, count in rows:
            found[word] = found.get(word, 0) + count
    word = max(found, key=lambda one: found[one]) if found else None
    for name in columns if word is not None else []:
        quoted = '"' + name.replace('"', '""') + '"'
        db.execute(f"UPDATE sample SET {quoted} = NULL WHERE {quoted} = $1", [word])
    return word


def read_json(db: DuckDBPyConnection, files: list[Path], head: Head, bound: str) -> dict[str, str]:
    """Make table `sample` of JSON files. Returns the options that Spark requires to read them alike."""
    db.execute("SET VARIABLE files = $1", [[str(file) for file in files]])
    reading = "read_json(getvariable('files'), convert_strings_to_integers=false)"
    db.execute(f"CREATE TABLE sample AS SELECT * FROM {reading}{bound}")
    return {"multiLine": "true"} if head.text.lstrip().startswith("[") else {}


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
