"""The options of the built-in families, as specs write them.

They are not in the families' own modules, so that a spec is checked without the families' libraries.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Options(BaseModel):
    """Base of a family's options: unknown names are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SeasonOptions(Options):
    """`season`: steps in a season; by default the spec's."""

    season: Annotated[int, Field(ge=1)] | None = None


class StatsOptions(SeasonOptions):
    """`season`: steps in a season, by default the spec's; `last`: fit on the last so many rows only."""

    last: Annotated[int, Field(ge=2)] | None = None


class MflesOptions(StatsOptions):
    """`robust`: less swayed by outliers."""

    robust: bool | None = None


class CrostonOptions(Options):
    """`variant`: classic, sba or optimized; `last`: fit on the last so many rows only."""

    variant: Literal["classic", "sba", "optimized"] = "classic"
    last: Annotated[int, Field(ge=2)] | None = None


class TsbOptions(Options):
    """Smoothing of demand's size and of its probability; `last`: fit on the last so many rows only."""

    alpha_demand: Annotated[float, Field(gt=0, le=1)] = 0.1
    alpha_probability: Annotated[float, Field(gt=0, le=1)] = 0.1
    last: Annotated[int, Field(ge=2)] | None = None


class AutoOptions(StatsOptions):
    """`reselect`: search for the form again on every fold and on all rows."""

    reselect: bool = False


class EtsOptions(AutoOptions):
    """`model`: error, trend and season as three letters, Z for automatic; `damped`: a damped trend."""

    model: Annotated[str, Field(pattern=r"^[AMZ][NAMZ][NAMZ]$")] = "ZZZ"
    damped: bool | None = None


class ArimaOptions(AutoOptions):
    """`approximation`: faster sums of squares while searching."""

    approximation: bool = False


class MstlOptions(Options):
    """`seasons`: the lengths, by default the spec's one; `trend`: what forecasts the rest without its
    seasons.

    `log`: decompose logarithms where all values are positive, so that seasons grow with the level; `last`:
    fit on the last so many rows only.
    """

    seasons: list[Annotated[int, Field(ge=2)]] = []
    trend: Literal["ets", "theta", "drift", "holt"] = "ets"
    log: bool = False
    last: Annotated[int, Field(ge=2)] | None = None


class SklearnOptions(Options):
    """`lags` and `calendar` shape a forecast's features; tabular tasks use the spec's columns as they are.

    `log`: forecast logarithms where all values are positive, so that what is learnt are ratios.
    """

    lags: list[Annotated[int, Field(ge=1, le=10_000)]] = []
    calendar: bool = True
    log: bool = False


class BoostingOptions(SklearnOptions):
    """Of scikit-learn's HistGradientBoosting."""

    iterations: Annotated[int, Field(ge=1)] = 100
    learning_rate: Annotated[float, Field(gt=0)] = 0.1
    depth: Annotated[int, Field(ge=1)] | None = None
    leaf: Annotated[int, Field(ge=1)] = 20


class ForestOptions(SklearnOptions):
    """Of scikit-learn's random forest."""

    trees: Annotated[int, Field(ge=1)] = 100
    depth: Annotated[int, Field(ge=1)] | None = None
    leaf: Annotated[int, Field(ge=1)] = 3


class LinearOptions(SklearnOptions):
    """`alpha`: strength of the ridge penalty."""

    alpha: Annotated[float, Field(ge=0)] = 1.0


class LightGBMOptions(Options):
    """LightGBM's own, under plain names; `lags` and `calendar` shape a forecast's features, `objective` is
    for numbers.
    """

    iterations: Annotated[int, Field(ge=1, le=100_000)] = 100
    learning_rate: Annotated[float, Field(gt=0)] = 0.1
    leaves: Annotated[int, Field(ge=2)] = 31
    depth: Annotated[int, Field(ge=1)] | None = None
    leaf: Annotated[int, Field(ge=1)] = 20
    l2: Annotated[float, Field(ge=0)] = 0.0
    objective: Literal["l2", "l1", "huber", "poisson", "tweedie"] = "l2"
    lags: list[Annotated[int, Field(ge=1, le=10_000)]] = []
    calendar: bool = True


Seasonality = bool | Literal["auto"] | Annotated[int, Field(ge=1, le=100)]


class ProphetOptions(Options):
    """Prophet's own options; `cap` and `floor` are for logistic growth, `regressors: false` ignores
    known-future columns.

    `solver`: `exact` finds the highest posterior itself and hands over to Stan what has none that it can
    find (logistic growth; hardly more rows than columns); `stan` fits as stock Prophet does. `warm_start`
    is for Stan: the fit on all rows begins at the parameters of the partition's present champion. Fits of
    the backtest never do: that champion may have seen the rows they are tested on.
    """

    growth: Literal["linear", "logistic", "flat"] = "linear"
    weekly: Seasonality = "auto"
    yearly: Seasonality = "auto"
    daily: Seasonality = "auto"
    seasonality_mode: Literal["additive", "multiplicative"] = "additive"
    changepoints: Annotated[int, Field(ge=0)] = 25
    changepoint_range: Annotated[float, Field(gt=0, le=1)] = 0.8
    changepoint_prior_scale: Annotated[float, Field(gt=0)] = 0.05
    seasonality_prior_scale: Annotated[float, Field(gt=0)] = 10.0
    holidays_prior_scale: Annotated[float, Field(gt=0)] = 10.0
    solver: Literal["exact", "stan"] = "exact"
    warm_start: bool = False
    cap: float | None = None
    floor: float | None = None
    regressors: bool = True

    @property
    def exact(self) -> bool:
        """Whether the exact solver is tried first."""
        return self.solver == "exact" and self.growth != "logistic"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.growth == "logistic" and (self.cap is None or self.cap <= (self.floor or 0.0)):
            raise ValueError(
                "growth: logistic requires `cap`, above `floor`: the most that the target can reach"
            )
        if self.warm_start and self.exact:
            raise ValueError(
                "warm_start: true requires `solver: stan` or `growth: logistic`: the exact solver finds the "
                "same optimum from anywhere. Remove it"
            )
        return self
