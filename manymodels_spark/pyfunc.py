"""Where models logged before 0.2 look for their loader; see `manymodels_spark.flavor.pyfunc`."""

from manymodels_spark.flavor.pyfunc import PartitionModel, _load_pyfunc  # noqa: F401
