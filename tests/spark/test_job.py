"""Train, promote, score and load on one small job: nothing is lost, nothing is done twice."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Barrier
from typing import TYPE_CHECKING, Any

import duckdb
import mlflow
import pandas as pd
import pytest
from builders import days, make_spec, write_csv
from lakes import after, after_with_reports, lead_to

from manymodels_spark._version import __version__
from manymodels_spark.errors import (
    ConcurrentWrite,
    ManyModelsError,
    TooManyFailures,
    TrackingError,
    WarehouseError,
)
from manymodels_spark.keys import PartitionKey
from manymodels_spark.lake.tables import (
    CHAMPIONS,
    FITS,
    MODELS,
    PREDICTIONS,
    PROMOTIONS,
    QUARANTINE,
    SILVER,
    UNSCORED,
)
from manymodels_spark.modeling.fingerprint import spec_hash
from manymodels_spark.stages.ingest.stage import ingest
from manymodels_spark.stages.load.stage import load
from manymodels_spark.stages.pipeline import run
from manymodels_spark.stages.prepare.stage import prepare
from manymodels_spark.stages.promote import champions_index
from manymodels_spark.stages.promote.stage import promote
from manymodels_spark.stages.runs.job import Job
from manymodels_spark.stages.score.stage import score
from manymodels_spark.stages.train.due import Choice, select
from manymodels_spark.stages.train.log_models import Recorder
from manymodels_spark.stages.train.stage import train
from manymodels_spark.tracking import tags as t
from manymodels_spark.tracking.opening import open_repository

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

WEEK = [3.0, 5.0, 4.0, 6.0, 8.0, 12.0, 10.0]
GATES = {"all": [{"metric": "wape", "below": 0.5}]}
WAVES = {"promote": GATES, "limits": {"partitions_per_wave": 3}}


def rows_of(item: str, count: int, level: float = 1.0) -> list[dict[str, object]]:
    return [
        {"store": 1, "item": item, "date": day, "units": level * WEEK[n % 7]}
        for n, day in enumerate(days(count))
    ]


def wild(item: str, count: int) -> list[dict[str, object]]:
    """A series that last week says nothing of: its gate stays shut."""
    return [{**row, "units": 500.0 * ((n * 7919) % 13 == 0)} for n, row in enumerate(rows_of(item, count))]


BASE = [
    *rows_of("a", 40),
    *rows_of("b", 40, 2.0),
    *rows_of("c", 40, 3.0),
    *wild("wild", 40),
    *rows_of("short", 4),
    *({**row, "units": None} for row in rows_of("empty", 20)),
]


def ready(folder: Path, spark: SparkSession, rows: list[dict[str, object]] = BASE, **changes: Any) -> Job:
    """A prepared job."""
    return after("prepare", folder, spark, rows, **{"promote": GATES, **changes})


def keyed(job: Job, table: str, *columns: str) -> dict[str, tuple[Any, ...]]:
    """Item to the named columns."""
    rows = job.lake.read(table).select("key", *columns).collect()
    return {str(PartitionKey.parse(row["key"]).as_dict()["item"]): tuple(row)[1:] for row in rows}


def chosen(job: Job, **choice: Any) -> set[str]:
    """The items that a training run of this choice would fit."""
    todo = select(job.lake, Choice(**choice), spec_hash(job.spec), "another run").todo
    return {str(PartitionKey.parse(key).as_dict()["item"]) for key in todo["key"]}


@pytest.fixture(scope="module")
def finished(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> tuple[Job, dict[str, Any]]:
    job, reports = after_with_reports("load", tmp_path_factory.mktemp("job"), spark, BASE, **WAVES)
    return job, {report.stage: report for report in reports}


@pytest.fixture
def done(finished: tuple[Job, dict[str, Any]]) -> tuple[Job, dict[str, Any]]:
    """A job whose stages ran once, with their reports; other tests begin with copies of it."""
    lead_to(finished[0])
    return finished


@pytest.mark.core
def test_partitions_in_equal_fitted_and_quarantined_and_the_tables_say_the_same(
    done: tuple[Job, dict[str, Any]],
) -> None:
    job, reports = done
    counts = reports["train"].counts
    assert {item: found[0] for item, found in keyed(job, QUARANTINE, "reason").items()} == {
        "short": "too_short",
        "empty": "all_null",
    }
    assert counts == {
        "partitions": 6,
        "fitted": 4,
        "fallback": 0,
        "unchanged": 0,
        "inactive": 0,
        "quarantined": 2,
    }
    assert job.lake.read(MODELS).count() == counts["fitted"]
    assert job.lake.read(FITS).filter("status = 'failed'").count() == counts["quarantined"]


@pytest.mark.core
def test_every_fitted_partition_is_one_logged_model_with_its_tags(
    done: tuple[Job, dict[str, Any]], mlflow_at: Callable[[str], None]
) -> None:
    job, reports = done
    repository = open_repository(job.spec.mlflow.development, job.spec)
    models = {model.tags["item"]: model for model in repository.search("tags.`manymodels.spec` = 'sales'")}
    assert sorted(models) == ["a", "b", "c", "wild"]
    assert models["a"].tags["store"] == "1"
    assert models["a"].metrics["wape"] == pytest.approx(0.0)
    assert models["a"].metrics["rows"] == 40
    mlflow_at(job.spec.mlflow.development.tracking)
    loaded = mlflow.pyfunc.load_model(f"models:/{models['b'].model_id}")
    assert loaded.input_example["date"].tolist() == [pd.Timestamp("2026-02-10"), pd.Timestamp("2026-02-11")]
    assert loaded.predict(loaded.input_example)["prediction"].tolist() == pytest.approx(
        [2 * WEEK[40 % 7], 2 * WEEK[41 % 7]]
    )
    assert reports["train"].calls <= 2 * reports["train"].counts["fitted"] + 10, (
        "two a model, and those of a run and its waves"
    )


def test_a_logged_model_says_what_it_is_made_of_and_how_it_did_on_each_fold(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mlflow_at: Callable[[str], None]
) -> None:
    monkeypatch.setenv("MANYMODELS_COMMIT", "c0ffee")
    job = ready(tmp_path, spark, rows_of("a", 40), backtest={"folds": 2})
    report = train(job)
    repository = open_repository(job.spec.mlflow.development, job.spec)
    (fit,), (found,) = job.lake.read(FITS).collect(), repository.search(t.where(SPEC="sales"))
    model = repository.client.mlflow.get_logged_model(found.model_id)
    tags = dict(model.tags)
    assert len(tags.pop(t.BATCH)) == 32
    assert tags == {
        "store": "1",
        "item": "a",
        t.PARTITION: fit["partition_id"],
        t.KEY: fit["key"],
        t.SPEC: "sales",
        t.SPEC_HASH: spec_hash(job.spec),
        t.JOB: report.run_id,
        t.DATA_VERSION: str(job.lake.version(SILVER)),
        t.VERSION: __version__,
        t.COMMIT: "c0ffee",
        t.FAMILY: "seasonal_naive",
        t.FINGERPRINT: fit["fingerprint"],
        t.SHA256: fit["sha256"],
        t.STATUS: "fitted",
        t.WAVE: "1",
    }
    assert model.params == {
        "family": "seasonal_naive",
        "options": fit["options"],
        "candidates": "seasonal_naive",
        "start": fit["start"],
        "cutoff": fit["cutoff"],
    }
    assert (fit["start"][:10], fit["cutoff"][:10]) == ("2026-01-01", "2026-02-09")
    values = {metric.key: metric.value for metric in model.metrics}
    assert (values["rows"], values["fit_seconds"]) == (40.0, pytest.approx(fit["seconds"]))
    assert {"wape", "wape_fold_1", "wape_fold_2", "mae_fold_2"} <= values.keys()
    assert values["mae"] == pytest.approx((values["mae_fold_1"] + values["mae_fold_2"]) / 2)
    mlflow_at(job.spec.mlflow.development.tracking)
    signature = mlflow.pyfunc.load_model(f"models:/{found.model_id}").metadata.signature
    assert signature.inputs.input_names() == ["date"]
    assert {param.name: param.default for param in signature.params} == {
        "horizon": 7,
        "levels": job.spec.backtest.intervals,
    }
    promote(job)
    (champion,) = champions_index.current_champions(
        open_repository(job.spec.mlflow.production, job.spec)
    ).values()
    same = (t.FINGERPRINT, t.SHA256, t.DATA_VERSION, t.SPEC_HASH, t.COMMIT, t.JOB, t.FAMILY)
    assert {name: champion.tags[name] for name in same} == {name: tags[name] for name in same}


@pytest.mark.slow
def test_two_trainers_at_once_fit_and_log_each_partition_once(spark: SparkSession, tmp_path: Path) -> None:
    job = ready(tmp_path, spark, limits={"partitions_per_wave": 2})
    start = Barrier(2)

    def one(_: int) -> str:
        start.wait(60)
        try:
            return str(train(job).counts["fitted"])
        except ManyModelsError as error:
            return type(error).__name__ if isinstance(error, ConcurrentWrite) else str(error)

    with ThreadPoolExecutor(2) as pool:
        ended = sorted(pool.map(one, range(2)))
    assert "4" in ended
    assert ended[0] == "0" or ended[1] == "ConcurrentWrite" or "already running" in ended[1]
    fits = [row["partition_id"] for row in job.lake.read(FITS).collect()]
    logged = [row["partition_id"] for row in job.lake.read(MODELS).collect()]
    models = [
        model.partition_id
        for model in open_repository(job.spec.mlflow.development, job.spec).search(t.where(SPEC="sales"))
    ]
    assert (len(fits), len(set(fits))) == (6, 6)
    assert sorted(models) == sorted(logged) == sorted(set(logged))
    assert len(logged) == 4


@pytest.mark.core
def test_promotion_applies_the_gates_and_tells_why_it_refused(done: tuple[Job, dict[str, Any]]) -> None:
    job, reports = done
    assert {
        name: reports["promote"].counts[name] for name in ("promoted", "kept", "refused", "champions")
    } == {
        "promoted": 3,
        "kept": 0,
        "refused": 1,
        "champions": 3,
    }
    outcome, reason = keyed(job, PROMOTIONS, "outcome", "reason")["wild"]
    assert outcome == "refused"
    assert "wape" in reason and "0.5" in reason
    assert reports["promote"].calls <= 4 * 3 + 20, (
        "at most four a model, and those of the promotion and of the model that routes"
    )


@pytest.mark.core
def test_predictions_continue_each_series_and_the_rest_is_in_unscored_with_its_reason(
    done: tuple[Job, dict[str, Any]],
) -> None:
    job, reports = done
    rows = job.lake.read(PREDICTIONS).filter("item = 'b'").orderBy("date").collect()
    assert [row["prediction"] for row in rows] == pytest.approx([2 * WEEK[n % 7] for n in range(40, 47)])
    assert str(rows[0]["date"])[:10] == "2026-02-10"
    assert all(row["lower_80"] <= row["prediction"] <= row["upper_80"] for row in rows)
    reasons = {item: found[0].split(":")[0] for item, found in keyed(job, UNSCORED, "error").items()}
    assert reasons == {"wild": "no_champion", "short": "no_champion", "empty": "quarantined"}
    assert reports["score"].counts == {
        "partitions": 6, "inactive": 0, "scored": 3, "fallback": 0, "unscored": 3, "lost": 0, "rows": 21
    }, "what a gate refused was never forecast, and is not lost"  # fmt: skip


@pytest.mark.core
def test_the_warehouse_holds_what_the_lake_holds(done: tuple[Job, dict[str, Any]]) -> None:
    job, _ = done
    with duckdb.connect(str(job.spec.warehouse.path), read_only=True) as connection:  # type: ignore[union-attr]
        found = connection.execute(
            "SELECT count(*), round(sum(prediction), 6) FROM sales_predictions"
        ).fetchone()
    lake = job.lake.read(PREDICTIONS).selectExpr("count(*)", "round(sum(prediction), 6)").first()
    assert found == tuple(lake or ())
    assert load(job).counts["rows"] == 0, "the same version is loaded once"


def test_the_index_is_what_mlflow_says_and_can_be_thrown_away(done: tuple[Job, dict[str, Any]]) -> None:
    job, _ = done
    assert champions_index.verify(job) == []
    before = {row["partition_id"]: row.asDict() for row in champions_index.read_index(job).collect()}
    champions_index.write_index(job, [])
    assert len(champions_index.verify(job)) == 3
    assert champions_index.rebuild(job).counts["champions"] == 3
    assert {row["partition_id"]: row.asDict() for row in champions_index.read_index(job).collect()} == before


@pytest.mark.parametrize(
    "change", ["metrics = map_concat(metrics, map('better', 0.0D))", "sha256 = reverse(sha256)"]
)
def test_a_row_of_the_index_that_somebody_changed_is_found(
    done: tuple[Job, dict[str, Any]], change: str
) -> None:
    job, _ = done
    changed = sorted(champions_index.read_index(job).toPandas()["partition_id"])[1]
    job.spark.sql(f"UPDATE {job.lake.ref(CHAMPIONS)} SET {change} WHERE partition_id = '{changed}'")
    assert champions_index.verify(job) == [changed]
    champions_index.rebuild(job)
    assert champions_index.verify(job) == []
    version = job.lake.version(CHAMPIONS)
    champions_index.rebuild(job)
    assert job.lake.version(CHAMPIONS) == version, "what is right is not written again"


def test_one_query_leads_from_a_prediction_to_its_model_run_data_spec_and_commit(
    done: tuple[Job, dict[str, Any]],
) -> None:
    job, reports = done
    text = (Path(__file__).parents[2] / "docs" / "mlflow.md").read_text(encoding="utf-8")
    query = text.split("```sql")[1].split("```")[0]
    for table in (PREDICTIONS, PROMOTIONS, MODELS):
        job.lake.read(table).createOrReplaceTempView(f"sales_{table}")
    rows = job.spark.sql(
        query.replace("retail_sales", "sales").replace("p.store = 3 AND p.item = 7", "p.item = 'b'")
    ).collect()
    models = {
        m.tags["item"]: m
        for m in open_repository(job.spec.mlflow.development, job.spec).search(t.where(SPEC="sales"))
    }
    origin = models["b"]
    assert len(rows) == 7, "a row per prediction"
    for row in rows:
        assert (row["source_model"], row["training_run"]) == (origin.model_id, reports["train"].run_id)
        assert (row["spec_hash"], row["git_commit"]) == (origin.tags[t.SPEC_HASH], origin.tags.get(t.COMMIT))
        assert str(row["trained_on"]) == origin.tags[t.DATA_VERSION]


def test_a_second_training_fits_nothing_and_a_choice_what_it_names(
    spark: SparkSession, tmp_path: Path
) -> None:
    job = after("train", tmp_path, spark, BASE, **WAVES)
    again = train(job)
    assert again.counts == {
        "partitions": 6,
        "fitted": 0,
        "fallback": 0,
        "unchanged": 4,
        "inactive": 0,
        "quarantined": 2,
    }
    assert chosen(job) == chosen(job, older_than=timedelta(days=7)) == set()
    assert chosen(job, failed=True) == {"short"}, "what prepare found is not tried again"
    assert chosen(job, force=True) == chosen(job, older_than=timedelta(0)) == {"a", "b", "c", "wild", "short"}
    assert chosen(job, force=True, only="item < 'c'") == {"a", "b"}
    with pytest.raises(ManyModelsError, match="--only 'itme = 1' is no condition on"):
        train(job, Choice(only="itme = 1"))


@pytest.mark.slow  # tests/e2e/test_main_job.py runs again, and on another day
def test_after_a_change_only_what_must_be_done_is_done(spark: SparkSession, tmp_path: Path) -> None:
    job = after("score", tmp_path, spark, BASE, **WAVES)
    assert promote(job).counts["kept"] == 3
    rows, version = job.lake.read(PREDICTIONS).count(), job.lake.version(PREDICTIONS)
    score(job)
    assert job.lake.version(PREDICTIONS) == version, "predictions of the same rows and champions stand"
    score(job, force=True)
    assert job.lake.read(PREDICTIONS).count() == rows, "scored again, they are replaced"

    write_csv(tmp_path / "sales.csv", [*BASE, {"store": 1, "item": "a", "date": "2026-02-10", "units": 8.0}])
    ingest(job), prepare(job)
    changed = train(job)
    assert (changed.counts["fitted"], changed.counts["unchanged"]) == (1, 3)
    assert promote(job).counts == {"candidates": 4, "promoted": 1, "kept": 2, "refused": 1, "champions": 3}
    assert score(job).counts["rows"] == 21
    assert job.lake.read(PREDICTIONS).filter("item = 'a'").select("cutoff").distinct().count() == 2

    assert train(job, Choice(only="item = 'b'", force=True)).counts["fitted"] == 1


@pytest.mark.core
@pytest.mark.parametrize(
    ("stage", "before"),
    [(prepare, "ingest"), (train, "prepare"), (promote, "train"), (score, "promote"), (load, "score")],
)
def test_a_stage_that_comes_too_early_names_the_one_to_run_first(
    stage: Callable[[Job], object], before: str, spark: SparkSession, tmp_path: Path
) -> None:
    with pytest.raises(ManyModelsError, match=rf"yet\. Run .*`?manymodels {before} SPEC"):
        stage(Job.of(make_spec(tmp_path), spark))


@pytest.mark.core
def test_a_run_that_was_cut_short_is_finished_by_the_next_and_logs_every_model_once(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = ready(tmp_path, spark)
    logged = Recorder.record

    def dies(self: Recorder, wave: int, *, resumed: bool = False) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(Recorder, "record", dies)
    with pytest.raises(KeyboardInterrupt):
        train(job)
    assert job.lake.read(FITS).filter("status = 'fitted'").count() == 4
    assert job.lake.read(MODELS).count() == 0

    monkeypatch.setattr(Recorder, "record", logged)
    assert train(job).counts == {
        "partitions": 6,
        "fitted": 4,
        "fallback": 0,
        "unchanged": 0,
        "inactive": 0,
        "quarantined": 2,
    }
    assert job.lake.read(FITS).filter("status = 'fitted'").count() == 4, "what was fitted is not fitted again"
    assert job.lake.read(MODELS).count() == 4


@pytest.mark.parametrize(
    "at",
    [
        "manymodels_spark.stages.train.stage.select",
        pytest.param(
            "manymodels_spark.tracking.repository.ModelRepository.start_run", marks=pytest.mark.slow
        ),
    ],
)
def test_a_run_that_was_cut_short_before_anything_was_logged_is_gone_on_with(
    at: str, spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = ready(tmp_path, spark, rows_of("a", 40))

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(at, dies)
        train(job)
    assert train(job).counts["fitted"] == 1
    assert job.lake.read(FITS).count() == job.lake.read(MODELS).count() == 1, (
        "neither fitted nor logged twice"
    )


def test_what_has_no_champion_is_scored_by_the_fallback_and_marked(
    spark: SparkSession, tmp_path: Path
) -> None:
    job = ready(tmp_path, spark, fallback="naive")
    assert train(job).counts["fallback"] == 1, "the short series"
    promote(job)
    counts = score(job).counts
    assert (counts["scored"], counts["fallback"], counts["unscored"]) == (5, 2, 1)
    marked = (
        job.lake.read(PREDICTIONS)
        .filter("fallback")
        .select("item", "family", "model_id")
        .distinct()
        .collect()
    )
    assert sorted(tuple(row) for row in marked) == [("short", "naive", None), ("wild", "naive", None)]


def test_too_many_failures_end_the_run_with_all_else_done(spark: SparkSession, tmp_path: Path) -> None:
    job = ready(tmp_path, spark, limits={"failures": "10%"})
    with pytest.raises(
        TooManyFailures,
        match=r"2 of 6 partitions are in quarantine \(33.3%\), and limits.failures allows 10.0%",
    ):
        train(job)
    assert job.lake.read(MODELS).count() == 4


def test_a_full_artifact_root_is_told_in_plain_words_and_nothing_is_committed(
    spark: SparkSession, tmp_path: Path
) -> None:
    job = ready(tmp_path, spark, rows_of("a", 40))
    where = tmp_path / "dev-artifacts"
    where.write_text("a file where the folder of the artifacts should be: no executor can write there")
    with pytest.raises(
        TrackingError, match=r"^a model's files cannot be written to .*dev-artifacts.* Make room there"
    ):
        train(job)
    assert job.lake.read(MODELS).count() == 0
    where.unlink()
    assert train(job).counts["fitted"] == 1
    assert job.lake.read(FITS).count() == job.lake.read(MODELS).count() == 1, (
        "fitted once, logged when there was room"
    )


def test_an_mlflow_out_of_reach_is_told_before_anything_is_fitted(
    spark: SparkSession, tmp_path: Path
) -> None:
    job = ready(tmp_path, spark, mlflow={"development": {"tracking": "http://127.0.0.1:1"}})
    with pytest.raises(TrackingError, match=r"http://127.0.0.1:1"):
        train(job)
    assert not job.lake.exists(FITS)


def test_a_production_mlflow_out_of_reach_is_told_before_a_run_begins(
    spark: SparkSession, tmp_path: Path
) -> None:
    job = ready(tmp_path, spark, rows_of("a", 40), mlflow={"production": {"tracking": "http://127.0.0.1:1"}})
    with pytest.raises(TrackingError, match=r"http://127.0.0.1:1"):
        run(job)
    assert not job.lake.exists(FITS)


def test_a_model_whose_payload_was_altered_in_the_lake_is_refused_by_name_and_the_others_are_promoted(
    spark: SparkSession, tmp_path: Path
) -> None:
    job = after("promote", tmp_path, spark, BASE, **WAVES)
    before = {row["partition_id"]: row["model_id"] for row in champions_index.read_index(job).collect()}
    train(job, Choice(force=True))
    altered = min(before)
    job.spark.sql(
        f"UPDATE {job.lake.ref(FITS)} SET payload = unhex('00') WHERE partition_id = '{altered}' AND "
        "payload IS NOT NULL"
    )
    report = promote(job)
    assert (report.counts["promoted"], report.counts["refused"]) == (2, 2)
    now = {row["partition_id"]: row["model_id"] for row in champions_index.read_index(job).collect()}
    assert {partition for partition in before if before[partition] == now[partition]} == {altered}
    recorded = (
        job.lake.read(PROMOTIONS)
        .filter(f"promotion = '{report.run_id}' AND partition_id = '{altered}'")
        .collect()
    )
    assert [(row["outcome"], row["model_id"], row["verdicts"][0]["gate"]) for row in recorded] == [
        ("refused", None, "payload")
    ]
    assert "train the partition again with --force" in recorded[0]["reason"]
    assert sum("checksum" in line and line.startswith("refused") for line in report.lines) == 1
    assert champions_index.verify(job) == []


# That a load says so is in tests/integration/test_load_postgres.py.
@pytest.mark.slow
def test_a_warehouse_out_of_reach_leaves_the_predictions_whole(spark: SparkSession, tmp_path: Path) -> None:
    job = ready(
        tmp_path, spark, rows_of("a", 40), warehouse={"postgres": "postgresql://u:hunter2@127.0.0.1:1/db"}
    )
    train(job), promote(job), score(job)
    with pytest.raises(WarehouseError) as caught:
        load(job)
    assert "127.0.0.1:1" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert job.lake.read(PREDICTIONS).count() == 7


def test_one_class_of_rows_and_text_labels_go_through_a_classification(
    spark: SparkSession, tmp_path: Path
) -> None:
    rows = [
        {"store": 1, "item": "a", "heat": float(n % 50), "fails": "yes" if n % 50 > 24 else "no"}
        for n in range(120)
    ]
    rows += [{"store": 1, "item": "b", "heat": float(n), "fails": "no"} for n in range(30)]
    job = ready(
        tmp_path,
        spark,
        rows,
        task="classification",
        columns={"target": "fails", "features": ["heat"]},
        candidates=["linear"],
        promote={"all": [{"metric": "accuracy", "above": 0.8}]},
    )
    assert train(job).counts == {
        "partitions": 2,
        "fitted": 1,
        "fallback": 0,
        "unchanged": 0,
        "inactive": 0,
        "quarantined": 1,
    }
    assert keyed(job, QUARANTINE, "reason") == {"b": ("one_class",)}
    assert promote(job).counts["promoted"] == 1
    assert score(job).counts["lost"] == 0, "every row has its label: nothing is due, and nothing lost"
    score(job, every_row=True)
    found = job.lake.read(PREDICTIONS).groupBy("prediction").count().collect()
    assert {row["prediction"] for row in found} == {"yes", "no"}
    assert sum(row["count"] for row in found) == 120


def test_a_promotion_waits_for_the_signed_off_file(spark: SparkSession, tmp_path: Path) -> None:
    request = tmp_path / "approved.csv"
    job = ready(
        tmp_path, spark, [*rows_of("a", 40), *rows_of("b", 40)], promote={**GATES, "approval": str(request)}
    )
    train(job)
    with pytest.raises(ManyModelsError, match=r"promote.approval: .*approved.csv cannot be read"):
        promote(job)
    assert promote(job, dry_run=True, write=request).counts["promoted"] == 2
    lines = request.read_text().splitlines()
    assert [line.split(",")[1] for line in lines[1:]] == ["item=a  store=1", "item=b  store=1"]

    request.write_text("\n".join(lines[:2]))
    counts = promote(job).counts
    assert (counts["promoted"], counts["refused"]) == (1, 1)
    decisions = job.lake.read(PROMOTIONS).groupBy("outcome").count().collect()
    assert {row["outcome"]: row["count"] for row in decisions} == {
        "would_promote": 2,
        "promoted": 1,
        "refused": 1,
    }
    refused = job.lake.read(PROMOTIONS).filter("outcome = 'refused'").select("reason").collect()
    assert "awaits approval" in refused[0]["reason"]
    request.write_text("\n".join(lines))
    assert promote(job).counts["promoted"] == 1
