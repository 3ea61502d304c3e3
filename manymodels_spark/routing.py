"""Where routing models of version 0.1 find their loader: `manymodels_spark.flavor.routed_models`."""

from manymodels_spark.flavor.routed_models import RoutedModels, _load_pyfunc  # noqa: F401
