"""Simulated source data with known truth: sales of stores and items, wells with sensors, and the faults of
real data.

Everything follows from a seed: the same call writes the same rows, and more days continue the days before.
"""

from __future__ import annotations

from manymodels_spark.simulate.database import append_days, write_source_database
from manymodels_spark.simulate.parquet import write_parquet
from manymodels_spark.simulate.sales import Shape, expected_units, sales_of

__all__ = ["Shape", "append_days", "expected_units", "sales_of", "write_parquet", "write_source_database"]
