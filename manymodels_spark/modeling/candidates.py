"""A spec's candidates on one partition: which are tried, on which folds, and how each did."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from manymodels_spark.families import registry
from manymodels_spark.families.base import Problem
from manymodels_spark.modeling.backtest import Backtest, Trial
from manymodels_spark.modeling.bounds import Bounds
from manymodels_spark.modeling.cleaning import require_classes
from manymodels_spark.modeling.folds import folds_of
from manymodels_spark.modeling.grid import Grid, interpolated, on_grid, table
from manymodels_spark.modeling.profile import Profile, profile, ruled_out, seasons_of
from manymodels_spark.spec.model import Candidate, Spec


def grid_of(rows: pd.DataFrame, spec: Spec, problem: Problem) -> Grid:
    """Clean rows on the grid of a forecast's frequency, or as the table that they are. Raises FitError."""
    grid = on_grid(rows, spec, problem) if spec.task == "forecast" else table(rows)
    return grid if spec.task == "classification" else replace(grid, outliers=spec.prepare.outliers)


def backtest_of(grid: Grid, spec: Spec, problem: Problem) -> Backtest:
    """The folds that the grid allows. Raises FitError where there is none, or one class only."""
    require_classes(grid.rows, spec)
    folds = folds_of(grid.rows, spec, problem.seed, grid.known)
    return Backtest(grid, folds, problem, Bounds.of(spec.predict))


def trials_of(backtest: Backtest, spec: Spec) -> tuple[list[Trial], dict[int, str]]:
    """Every candidate through the folds, and the positions of those that were not tried, with why."""
    out = _ruled_out(backtest.grid, spec, backtest.problem)
    tried = [candidate for position, candidate in enumerate(spec.candidates) if position not in out]
    return [backtest.tried(label(candidate), registry.build(candidate)) for candidate in tried], out


def chosen_by(grid: Grid, spec: Spec, problem: Problem) -> Spec:
    """The spec by whose metric the champion is chosen: RMSSE for demand that is mostly zero, where no metric
    is named and the profile may decide (`backtest.rule_out`).

    Absolute errors are least for a forecast of zero there (Hyndman, Koehler 2006; Makridakis et al. 2022).
    """
    if not spec.backtest.rule_out or spec.backtest.metric or problem.task != "forecast":
        return spec
    if not _profile(grid, problem).sparse:
        return spec
    return spec.model_copy(update={"backtest": spec.backtest.model_copy(update={"metric": "rmsse"})})


def label(candidate: Candidate) -> str:
    """A candidate's name in scores; options tell two of one family apart."""
    options = ",".join(f"{name}={value}" for name, value in sorted(candidate.options.items()))
    return f"{candidate.family}({options})" if options else candidate.family


def _ruled_out(grid: Grid, spec: Spec, problem: Problem) -> dict[int, str]:
    """Positions of the candidates that the series' profile rules out, with why; none unless the spec asks for
    it.
    """
    if problem.task != "forecast" or not spec.backtest.rule_out:
        return {}
    return ruled_out(_profile(grid, problem), spec.candidates)


def _profile(grid: Grid, problem: Problem) -> Profile:
    values, known = grid.rows[problem.target].to_numpy(), grid.known
    whole = values if known.all() else interpolated(values, known, problem.season)
    return profile(whole, seasons_of(problem.frequency, problem.season), known)
