"""Beside the way of blogs and documentation: a run and a `log_model` inside the grouped function, a driver
loop to score.

    make bench-naive                                     300 partitions our way, 24 of them the other way
    make bench-naive ARGS="--partitions 60 --naive 6"    smaller
    make bench-naive ARGS="--naive 300"                  all of them the other way, too

Both sides fit the same model on the same rows (a fit without the last days to judge it, a fit on all rows),
log to an `mlflow server` each and write their predictions to Delta; once with Prophet, and once with a ridge
regression on lags, for which MLflow finds out the requirements of every model. The other way does the same
for each model, so it runs a sample and everything is compared per model: `speedup_train`, `speedup_score`
(seconds a model), `calls_ratio` (requests that the server answered) and `bytes_ratio` (its database and
artifacts; on our side the payloads in the lake and the promoted copies count, too). Ours includes the fixed
part of a job, the promotion counts in its calls and its bytes.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from benchmarks.common import bytes_of, clock, cores, emit, scratch, spec_in
from manymodels_spark import ManyModels
from manymodels_spark.simulate import write_parquet
from manymodels_spark.spark.session import get_session
from tests.integration import mlflow_server

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

HORIZON, LAGS = 28, [1, 7, 14, 28]
SEASONS: dict[str, Any] = {"weekly": True, "yearly": True, "daily": False}
CANDIDATES: dict[str, dict[str, Any]] = {
    "prophet": {"prophet": SEASONS},
    "sklearn": {"linear": {"lags": LAGS}},
}
LOGGED = "store int, item int, uri string, wape double"
REQUEST = re.compile(r'"(GET|POST|PUT|PATCH|DELETE) /(api|ajax-api)/')
Figures = dict[str, float]


def main() -> None:
    """Both ways with both models, each against a server of its own, and the ratios per model."""
    arguments = _arguments()
    spark = get_session("bench-naive")
    with scratch() as folder:
        rows = write_parquet(
            folder / "in", partitions=arguments.partitions, days=arguments.days, files=4 * cores()
        )
        found = {flavor: both(spark, folder, flavor, arguments) for flavor in CANDIDATES}
    workload = {
        "partitions": arguments.partitions,
        "naive_partitions": arguments.naive,
        "rows": rows,
        "families": CANDIDATES,
    }
    emit("naive", workload=workload, **found)


def both(spark: SparkSession, folder: Path, flavor: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Our way and the other one with a model of that flavor of MLflow's."""
    place = folder / flavor
    place.mkdir()
    ours = _served(place / "ours", lambda server: our_way(spark, folder, place, server, flavor))
    naive = _served(
        place / "naive", lambda server: naive_way(spark, folder, place, server, flavor, arguments.naive)
    )
    return {
        "speedup_train": naive["train"] / ours["train"],
        "speedup_score": naive["score"] / ours["score"],
        "calls_ratio": naive["calls"] / ours["calls"],
        "bytes_ratio": naive["bytes"] / ours["bytes"],
        "ours_per_model": ours,
        "naive_per_model": naive,
        "naive_minutes_for_all": (naive["train"] + naive["score"]) * arguments.partitions / 60,
    }


def our_way(
    spark: SparkSession, folder: Path, place: Path, server: mlflow_server.MlflowServer, flavor: str
) -> Figures:
    """The job's stages: seconds and bytes per model."""
    where = {name: {"tracking": server.url, "experiment": name} for name in ("development", "production")}
    mm = ManyModels(
        spec_in(
            place,
            name="ours",
            partition_by=["store", "item"],
            source={"parquet": str(folder / "in")},
            columns={"time": "date", "target": "units"},
            horizon=HORIZON,
            candidates=[CANDIDATES[flavor]],
            backtest={"folds": 1},
            mlflow=where,
        ),
        spark,
    )
    mm.ingest()
    mm.prepare()
    trained, promoted, scored = mm.train().report, mm.promote(), mm.score()
    print(
        f"ours, {flavor}: train {trained.seconds:.1f} s, promote {promoted.seconds:.1f} s, score "
        f"{scored.seconds:.1f} s",
        flush=True,
    )
    kept = bytes_of(*(place / "lake" / "ours" / table for table in ("fits", "models", "champions")))
    models = trained.counts["fitted"]
    return {
        "train": trained.seconds / models,
        "promote": promoted.seconds / models,
        "score": scored.seconds / models,
        "bytes": kept / models,
        "models": models,
    }


def naive_way(
    spark: SparkSession,
    folder: Path,
    place: Path,
    server: mlflow_server.MlflowServer,
    flavor: str,
    partitions: int,
) -> Figures:
    """The other way: a job that logs from inside the grouped function, then a loop over the models."""
    raw = spark.read.parquet(str(folder / "in")).select("store", "item", "date", "units")
    chosen = _first(raw, partitions)
    with clock(f"naive, {flavor}: {partitions} models trained") as trained:
        # Spread by hand: left to itself, Spark would put so few rows into one task and leave cores idle.
        spread = chosen.repartition(4 * cores(), "store", "item")
        logged = (
            spread.groupBy("store", "item").applyInPandas(log_each(server.url, flavor), LOGGED).toPandas()
        )
    history = chosen.orderBy("date").toPandas()
    with clock(f"naive, {flavor}: {partitions} models loaded and scored") as scored:
        predictions = score_each(server.url, flavor, logged, history)
        spark.createDataFrame(predictions).write.format("delta").save(str(place / "naive-predictions"))
    return {
        "train": trained.seconds / len(logged),
        "score": scored.seconds / len(logged),
        "bytes": 0.0,
        "models": len(logged),
    }


def fit(flavor: str, history: pd.DataFrame) -> Any:
    """A model of Prophet's, or a ridge regression on lagged values, of columns `ds` and `y`."""
    if flavor == "prophet":
        from prophet import Prophet

        return Prophet(**{f"{name}_seasonality": on for name, on in SEASONS.items()}).fit(history)
    from sklearn.linear_model import Ridge

    lagged = pd.DataFrame({f"lag_{lag}": history["y"].shift(lag) for lag in LAGS}).iloc[max(LAGS) :]
    return Ridge().fit(lagged, history["y"].iloc[max(LAGS) :])


def forecast(flavor: str, model: Any, history: pd.DataFrame) -> pd.DataFrame:
    """The days after `history`: columns `ds` and `yhat`."""
    ahead = pd.DataFrame({"ds": pd.date_range(history["ds"].iloc[-1], periods=HORIZON + 1, freq="D")[1:]})
    if flavor == "prophet":
        return pd.DataFrame(model.predict(ahead)[["ds", "yhat"]])
    values = list(history["y"])
    for _ in range(HORIZON):
        values.append(float(model.predict(pd.DataFrame([{f"lag_{lag}": values[-lag] for lag in LAGS}]))[0]))
    return ahead.assign(yhat=values[-HORIZON:])


def log_each(uri: str, flavor: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """The function that such a job hands to `applyInPandas`."""

    def train(rows: pd.DataFrame) -> pd.DataFrame:
        import mlflow

        mlflow.set_tracking_uri(uri)
        mlflow.set_experiment("naive")
        store, item = int(rows["store"].iloc[0]), int(rows["item"].iloc[0])
        history = rows.rename(columns={"date": "ds", "units": "y"})[["ds", "y"]].sort_values("ds")
        with mlflow.start_run(run_name=f"store {store} item {item}"):
            known, held_out = history.iloc[:-HORIZON], history.iloc[-HORIZON:]
            guess = forecast(flavor, fit(flavor, known), known)["yhat"].to_numpy()
            wape = float(np.abs(held_out["y"] - guess).sum() / max(np.abs(held_out["y"]).sum(), 1.0))
            mlflow.set_tags({"store": store, "item": item})
            mlflow.log_params({"family": flavor, "horizon": HORIZON})
            mlflow.log_metric("wape", wape)
            model = getattr(mlflow, flavor).log_model(fit(flavor, history), name="model")
        return pd.DataFrame({"store": [store], "item": [item], "uri": [model.model_uri], "wape": [wape]})

    return train


def score_each(uri: str, flavor: str, logged: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """The driver's loop: load one model, predict, go on to the next."""
    import mlflow

    mlflow.set_tracking_uri(uri)
    histories = dict(iter(rows.rename(columns={"date": "ds", "units": "y"}).groupby(["store", "item"])))
    predictions = []
    for store, item, address in logged[["store", "item", "uri"]].itertuples(index=False):
        model = getattr(mlflow, flavor).load_model(address)
        predictions.append(forecast(flavor, model, histories[store, item]).assign(store=store, item=item))
    return pd.concat(predictions, ignore_index=True)


def _first(rows: DataFrame, partitions: int) -> DataFrame:
    """The rows of so many partitions."""
    from pyspark.sql import functions as F

    keys = rows.select("store", "item").distinct().orderBy("item", "store").limit(partitions)
    return rows.join(F.broadcast(keys), ["store", "item"])


def _served(folder: Path, way: Callable[[mlflow_server.MlflowServer], Figures]) -> Figures:
    """What `way` says, with the calls and the bytes per model of the server that it worked with."""
    server = mlflow_server.start(folder, workers=2)
    try:
        before = bytes_of(folder)
        found = way(server)
    finally:
        server.stop()
    models = found.pop("models")
    stored = bytes_of(folder) - before - len(server.log())
    return {
        **found,
        "bytes": found["bytes"] + stored / models,
        "calls": len(REQUEST.findall(server.log())) / models,
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--partitions", type=int, default=300)
    parser.add_argument("--naive", type=int, default=24, help="how many of them are done the other way")
    parser.add_argument("--days", type=int, default=1000)
    return parser.parse_args()


if __name__ == "__main__":
    main()
