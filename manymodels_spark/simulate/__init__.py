"""Simulated source data whose truth is known: sales with the faults of real data, and a chain's life.

Everything follows from a seed: the same call writes the same rows, and more days continue the days before.
"""

from __future__ import annotations

from manymodels_spark.simulate.chain import FIRST_NIGHT, Chain
from manymodels_spark.simulate.database import append_days, write_source_database
from manymodels_spark.simulate.life import Life
from manymodels_spark.simulate.life_database import extend_life, write_life
from manymodels_spark.simulate.parquet import write_parquet
from manymodels_spark.simulate.sales import Shape, expected_units, sales_of

__all__ = [
    "FIRST_NIGHT",
    "Chain",
    "Life",
    "Shape",
    "append_days",
    "expected_units",
    "extend_life",
    "sales_of",
    "write_life",
    "write_parquet",
    "write_source_database",
]
