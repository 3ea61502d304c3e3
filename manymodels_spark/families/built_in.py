"""The families that come with the package: where each one is, its options and its tasks.

A spec is checked by this alone, without the families' modules and their libraries.
"""

from __future__ import annotations

from dataclasses import dataclass

from manymodels_spark.families import options

_PACKAGE = "manymodels_spark.families"
_FORECAST = frozenset({"forecast"})
_NUMBERS = frozenset({"forecast", "regression"})
_CLASSES = frozenset({"classification"})


@dataclass(frozen=True)
class BuiltIn:
    """The module and class of a family below this package, with the class's own `Options` and `tasks`."""

    place: str
    options: type[options.Options]
    tasks: frozenset[str] = _FORECAST

    @property
    def address(self) -> str:
        """`module:Class`."""
        return f"{_PACKAGE}.{self.place}"


BUILT_IN = {
    "naive": BuiltIn("naive:Naive", options.Options),
    "seasonal_naive": BuiltIn("naive:SeasonalNaive", options.SeasonOptions),
    "mean": BuiltIn("naive:Mean", options.Options, _NUMBERS),
    "majority": BuiltIn("naive:Majority", options.Options, _CLASSES),
    "prophet": BuiltIn("prophet.family:ProphetFamily", options.ProphetOptions),
    "drift": BuiltIn("statsforecast:Drift", options.StatsOptions),
    "theta": BuiltIn("statsforecast:Theta", options.StatsOptions),
    "auto_theta": BuiltIn("statsforecast_auto:AutoTheta", options.AutoOptions),
    "dynamic_theta": BuiltIn("statsforecast:DynamicTheta", options.StatsOptions),
    "auto_ets": BuiltIn("statsforecast_auto:AutoETS", options.EtsOptions),
    "auto_ces": BuiltIn("statsforecast_auto:AutoCES", options.AutoOptions),
    "auto_arima": BuiltIn("statsforecast_auto:AutoARIMA", options.ArimaOptions),
    "holt": BuiltIn("statsforecast:Holt", options.StatsOptions),
    "ses": BuiltIn("statsforecast:SES", options.StatsOptions),
    "mstl": BuiltIn("mstl:MSTL", options.MstlOptions),
    "mfles": BuiltIn("statsforecast:MFLES", options.MflesOptions),
    "croston": BuiltIn("statsforecast:Croston", options.CrostonOptions),
    "tsb": BuiltIn("statsforecast:TSB", options.TsbOptions),
    "linear": BuiltIn("linear:Linear", options.LinearOptions, _NUMBERS | _CLASSES),
    "gradient_boosting": BuiltIn("sklearn:GradientBoosting", options.BoostingOptions, _NUMBERS | _CLASSES),
    "random_forest": BuiltIn("sklearn:RandomForest", options.ForestOptions, _NUMBERS | _CLASSES),
    "lightgbm": BuiltIn("lightgbm:LightGBM", options.LightGBMOptions, _NUMBERS | _CLASSES),
}
