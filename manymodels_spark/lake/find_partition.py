"""A partition by what a person types: `store=3, item=7`, whatever the columns' types are."""

from __future__ import annotations

import re
from collections.abc import Sequence

from manymodels_spark.errors import ManyModelsError
from manymodels_spark.keys import PartitionKey
from manymodels_spark.lake.tables import PARTITIONS, Lake
from manymodels_spark.spark.names import quote


def named_values(text: str, partition_by: Sequence[str]) -> dict[str, str]:
    """`store=3, item=a, b` as values by column: a value ends where the next column begins,
    and may hold commas.

    Raises ManyModelsError where a column is missing, unknown or named twice.
    """
    names = "|".join(re.escape(name) for name in sorted(partition_by, key=len, reverse=True))
    found = re.findall(
        rf"(?:^|[,;]\s*|\s+)({names})\s*=\s*(.*?)\s*(?=(?:[,;]\s*|\s+)(?:{names})\s*=|$)",
        text.strip(),
        re.DOTALL,
    )
    values = dict(found)
    if sorted(name for name, _ in found) != sorted(partition_by):
        example = ", ".join(f"{name}=..." for name in partition_by)
        raise ManyModelsError(
            f"{text!r} does not name one partition. Give a value for each column: {example!r}"
        )
    return values


def find_partition(lake: Lake, partition_by: Sequence[str], text: str) -> PartitionKey:
    """The prepared partition that the text names.
    Raises ManyModelsError where there is none, or more than one.
    """
    from pyspark.sql import functions as F

    values = named_values(text, partition_by)
    rows = lake.read(PARTITIONS)
    for name, value in values.items():
        rows = rows.filter(F.col(quote(name)).cast("string") == F.lit(value))
    keys = [PartitionKey.parse(row["key"]) for row in rows.select("key").limit(2).collect()]
    if len(keys) != 1:
        some = "no partition is" if not keys else "more than one partition is"
        raise ManyModelsError(f"{some} called {text!r}. See table partitions for those that there are")
    return keys[0]
