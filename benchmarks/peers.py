"""Beside statsforecast's own Spark backend: the same rows, the same models, as many fits of each, on the same
session.

    make bench-peers                                   1,000 partitions of 400 days, AutoETS and Theta
    make bench-peers ARGS="--partitions 4000 --plain"  without the backtest, which takes twice as long

The peer's floor is its fit-and-forecast, which tracks nothing: `StatsForecast(...).forecast(df=spark_df)`,
written to Delta. Ours is the train and the score stage with `refit: false`, which fits every model once per
partition as the peer does, judges it on the last days, logs a model for every partition and forecasts with
it. Series of six weeks or less are left to ours alone: one of them ends the peer's job. `ratio` is our wall
time over the peer's; `ratio_backtest` compares a backtest and a fit on all rows with the peer's
`cross_validation` and `forecast`. Both sides run a few partitions first, so that neither pays for imports.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.common import clock, cores, emit, scratch, spec_in
from manymodels_spark import ManyModels
from manymodels_spark.simulate import write_parquet
from manymodels_spark.spark.session import get_session

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

HORIZON, SEASON, WARM = 14, 7, 8
# Left to itself, Spark would put so few rows into one task and leave the peer's other cores idle.
COALESCE = "spark.sql.adaptive.coalescePartitions.enabled"


def main() -> None:
    """Both sides on the same rows, without and with a backtest, and the line of JSON."""
    arguments = _arguments()
    spark = get_session("bench-peers")
    with scratch() as folder:
        _both(spark, folder / "warm", WARM, arguments.days, refit=False)
        plain = _both(spark, folder / "plain", arguments.partitions, arguments.days, refit=False)
        backtest = (
            {}
            if arguments.plain
            else _both(spark, folder / "backtest", arguments.partitions, arguments.days, refit=True)
        )
    emit(
        "peers",
        workload={
            "partitions": arguments.partitions,
            "rows": plain["rows"],
            "models": ["AutoETS", "Theta"],
            "horizon": HORIZON,
        },
        ratio=plain["ours"] / plain["peer"],
        seconds_ours=plain["ours"],
        seconds_train=plain["train"],
        seconds_score=plain["score"],
        seconds_peer=plain["peer"],
        models_logged=plain["models"],
        **_backtest(backtest),
    )


def _backtest(measured: dict[str, float]) -> dict[str, float]:
    """The figures of the backtest, where there was one."""
    if not measured:
        return {}
    ours, peer = measured["ours"], measured["peer"]
    return {"ratio_backtest": ours / peer, "seconds_ours_backtest": ours, "seconds_peer_backtest": peer}


def _both(spark: SparkSession, folder: Path, partitions: int, days: int, *, refit: bool) -> dict[str, float]:
    """Seconds of either side; `refit` asks both for a backtest of one fold beside the fit on all rows."""
    folder.mkdir()
    rows = write_parquet(folder / "in", partitions=partitions, days=days, files=4 * cores())
    spark.conf.set(COALESCE, "false")
    with clock(f"peer, {partitions} partitions") as peer:
        _peer(spark, folder, backtest=refit)
    spark.conf.unset(COALESCE)
    mm = _prepared(spark, folder, refit)
    trained = mm.train().report
    mm.promote()
    scored = mm.score()
    print(f"ours, {partitions} partitions  {trained.seconds:.2f} s + {scored.seconds:.2f} s", flush=True)
    return {
        "rows": rows,
        "peer": peer.seconds,
        "train": trained.seconds,
        "score": scored.seconds,
        "ours": trained.seconds + scored.seconds,
        "models": trained.counts["fitted"],
    }


def _peer(spark: SparkSession, folder: Path, *, backtest: bool) -> None:
    """As statsforecast documents it for Spark; the results go to Delta, as ours do."""
    from pyspark.sql import functions as F
    from statsforecast import StatsForecast
    from statsforecast.models import AutoETS, Theta

    raw = spark.read.parquet(str(folder / "in"))
    identity = F.concat_ws("/", "store", "item").alias("unique_id")
    every: DataFrame = raw.select(
        identity, F.col("date").cast("timestamp").alias("ds"), F.col("units").alias("y")
    )
    # One series that is too short for a model or a fold ends the whole of the peer's job, so those are left
    # out for it.
    lengths = every.groupBy("unique_id").count().filter(F.col("count") > 3 * HORIZON)
    series = every.join(F.broadcast(lengths.select("unique_id")), "unique_id")
    models = [AutoETS(season_length=SEASON), Theta(season_length=SEASON)]
    if backtest:
        judged = StatsForecast(models=models, freq="D").cross_validation(df=series, h=HORIZON, n_windows=1)
        judged.write.format("delta").save(str(folder / "judged"))
    forecast = StatsForecast(models=models, freq="D").forecast(df=series, h=HORIZON)
    forecast.write.format("delta").save(str(folder / "forecast"))


def _prepared(spark: SparkSession, folder: Path, refit: bool) -> ManyModels:
    """Our job on the same rows, ready to train."""
    models: list[dict[str, Any]] = [{"auto_ets": {"season": SEASON}}, {"theta": {"season": SEASON}}]
    spec = spec_in(
        folder,
        name="peers",
        partition_by=["store", "item"],
        source={"parquet": str(folder / "in")},
        refit=refit,
        columns={"time": "date", "target": "units"},
        horizon=HORIZON,
        candidates=models,
        backtest={"folds": 1},
    )
    mm = ManyModels(spec, spark)
    mm.ingest()
    mm.prepare()
    return mm


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--partitions", type=int, default=1000)
    parser.add_argument("--days", type=int, default=400)
    parser.add_argument("--plain", action="store_true", help="no backtest")
    return parser.parse_args()


if __name__ == "__main__":
    main()
