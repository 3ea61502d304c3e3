"""The backtest of one partition once more, to look at: every candidate's prediction of every fold.

A run keeps the champions' predictions of their folds; those of all candidates would outweigh the models. A
fit is pure, so the same rows and spec give the same predictions again. Pure pandas, as the fit itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from manymodels_spark.keys import PartitionKey
from manymodels_spark.modeling.backtest import Backtest, Trial
from manymodels_spark.modeling.candidates import backtest_of, chosen_by, grid_of, trials_of
from manymodels_spark.modeling.cleaning import clean
from manymodels_spark.modeling.fit import problem_of
from manymodels_spark.modeling.selection import combination, how_of, rank, size_of
from manymodels_spark.spec.model import Spec

CHAMPION = "champion"


def backtest_partition(rows: pd.DataFrame, spec: Spec, key: PartitionKey) -> pd.DataFrame:
    """A row per candidate, fold and step of one partition's rows: candidate, champion (whether it did best),
    fold (1 is the latest), the time column (or `row`, the place among the rows given), actual and prediction.
    A combination of candidates is a candidate of its own.

    Steps that are closed or have no row have none here. A candidate that failed is left out.

    Raises:
        FitError: where the rows allow no fold.

    """
    problem = problem_of(rows, spec, key)
    with np.errstate(all="ignore"):
        grid = grid_of(clean(rows.reset_index(drop=True), spec), spec, problem)
        backtest = backtest_of(grid, spec, problem)
        trials, _ = trials_of(backtest, spec)
        spec = chosen_by(grid, spec, problem)
    ranked = rank([trial for trial in trials if trial.error is None], spec.metric, len(grid.rows))
    if not ranked:
        return pd.DataFrame(
            columns=["candidate", CHAMPION, "fold", problem.time or "row", "actual", "prediction"]
        )
    named = {trial.name: _predicted(trial, backtest) for trial in ranked}
    best, combined = _champion(ranked, spec)
    named |= {name: [backtest.bounds.applied(fold) for fold in folds] for name, folds in combined.items()}
    tables = [_table(name, values, backtest).assign(champion=name == best) for name, values in named.items()]
    return pd.concat(tables, ignore_index=True)


def _champion(ranked: Sequence[Trial], spec: Spec) -> tuple[str, dict[str, list[np.ndarray]]]:
    """The champion's name, and its predictions where it is a combination of the best."""
    members = ranked[: size_of(spec)]
    if len(members) == 1:
        return members[0].name, {}
    name = f"{how_of(spec)}_best_{len(members)}"
    return name, {name: combination(members, spec)}


def _predicted(trial: Trial, backtest: Backtest) -> list[np.ndarray]:
    """What the trial said of each fold, within the bounds; for classes the likeliest one."""
    if not any(trial.classes):
        return [backtest.bounds.applied(fold) for fold in trial.predictions]
    return [
        np.asarray(classes, dtype=object)[predicted.argmax(axis=1)]
        for predicted, classes in zip(trial.predictions, trial.classes, strict=True)
    ]


def _table(name: str, predictions: Sequence[np.ndarray], backtest: Backtest) -> pd.DataFrame:
    parts, problem, rows = [], backtest.problem, backtest.grid.rows
    for number, (fold, predicted) in enumerate(zip(backtest.folds, predictions, strict=True), start=1):
        known = backtest.grid.known[fold.test]
        test = rows.iloc[fold.test[known]]
        place = (
            {"row": test.index.to_numpy()}
            if problem.time is None
            else {problem.time: test[problem.time].to_numpy()}
        )
        actual, values = test[problem.target].to_numpy(), predicted[known]
        parts.append(
            pd.DataFrame({"candidate": name, "fold": number, **place, "actual": actual, "prediction": values})
        )
    return pd.concat(parts, ignore_index=True)
