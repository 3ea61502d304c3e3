"""Columns and tables by any name: Spark reads dots and backticks in a bare name as syntax of its own."""

from __future__ import annotations


def quote(name: str) -> str:
    """An identifier in backticks, for Spark SQL."""
    return "`" + name.replace("`", "``") + "`"


def literal(value: str) -> str:
    """A text literal for Spark SQL."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
