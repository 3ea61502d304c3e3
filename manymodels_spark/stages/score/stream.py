"""Near real time: rows that arrive in a folder or a topic are answered by their partitions' champions as they
come.

A batch of rows is one commit to table `streamed`, under the stream's id and the batch's number: a batch that
is done again after a crash adds nothing. Every row that came has a row there, with a prediction or an error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson
import pandas as pd
from pyspark.errors import StreamingQueryException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T
from pyspark.sql.streaming.query import StreamingQuery
from pyspark.sql.types import StructType

from manymodels_spark.errors import ManyModelsError
from manymodels_spark.frames import records
from manymodels_spark.lake.tables import PARTITIONS, SILVER, STREAMED, union
from manymodels_spark.spark.names import quote
from manymodels_spark.spark.workers import cogrouped
from manymodels_spark.spec.model import Spec
from manymodels_spark.spec.source import Kafka, Stream, resolve
from manymodels_spark.stages.runs.job import Job, StageReport
from manymodels_spark.stages.score.inputs import with_champions
from manymodels_spark.stages.score.payloads import Payloads
from manymodels_spark.stages.score.score_task import (
    ASKED,
    Outcome,
    Scorer,
    assembled,
    outcome,
    scored_schema,
)

REQUEST = "request_id"


def stream_score(job: Job, *, once: bool = False, every: str = "10 seconds") -> StageReport:
    """Answer rows until stopped, looking for new ones `every` so often; with `once` those that are there,
    then end.

    Counts: rows, errors (of this run). Raises ManyModelsError where the spec has no `stream`, or a
    batch cannot be read or written: it is tried again by the next run.
    """
    with job.stage("stream") as report:
        query = start(job, report.run_id, once=once, every=every)
        try:
            _await(query)
        except KeyboardInterrupt:
            query.stop()
        _count(job, report)
    return report


def start(job: Job, run_id: str, *, once: bool, every: str) -> StreamingQuery:
    """Start the query."""
    stream = job.spec.stream
    if stream is None:
        raise ManyModelsError(
            "stream: nothing says where rows arrive. Expected e.g. stream: {json: /data/requests}"
        )
    place = _checkpoint(job, stream)
    schema = request_schema(job)
    writer = _rows(job, stream, schema).writeStream.foreachBatch(_answering(job, run_id, place))
    writer = writer.trigger(availableNow=True) if once else writer.trigger(processingTime=every)
    return writer.option("checkpointLocation", place).start()


def request_schema(job: Job) -> StructType:
    """What a row holds: `request_id` (text, may be missing), partition columns, time, inputs, typed as in
    silver.
    """
    spec, silver = job.spec, job.lake.read(SILVER).schema
    names = [
        *spec.partition_by,
        *([spec.columns.time] if spec.task == "forecast" and spec.columns.time else []),
        *spec.columns.inputs,
    ]
    fields = [T.StructField(name, silver[name].dataType) for name in dict.fromkeys(names)]
    return T.StructType([T.StructField(REQUEST, T.StringType()), *fields])


def _rows(job: Job, stream: Stream, schema: StructType) -> DataFrame:
    reader = job.spark.readStream
    if isinstance(stream, Kafka):
        options = {name: resolve(value) for name, value in stream.options.items()}
        place = {"kafka.bootstrap.servers": resolve(stream.servers), "subscribe": stream.topic}
        messages = reader.format("kafka").options(**{**place, **options}).load()
        return messages.select(F.from_json(F.col("value").cast("string"), schema).alias("row")).select(
            "row.*"
        )
    defaults = {"header": "true"} if stream.kind == "csv" else {}
    return (
        reader.format(stream.kind)
        .schema(schema)
        .options(**{**defaults, **stream.options})
        .load(resolve(stream.path))
    )


def _answering(job: Job, run_id: str, checkpoint: str) -> Callable[[DataFrame, int], None]:
    """The function that Spark calls with each batch and its number."""

    def answer(batch: DataFrame, number: int) -> None:
        stream = _id(job, checkpoint)
        job.lake.append(STREAMED, answers(job, batch, run_id, number), once=f"stream-{stream}", number=number)

    return answer


def answers(job: Job, batch: DataFrame, run_id: str, number: int) -> DataFrame:
    """A row per row of the batch, as in `predictions` with `request_id`, `batch` and `error`."""
    lake, spec = job.lake, job.spec
    schema = scored_schema(spec, lake.read(SILVER).schema).add(REQUEST, "string").add("batch", "long")
    partitions = lake.read(PARTITIONS)
    # A column of its own: the batch and the partitions meet again below, and Spark must tell their ids apart.
    named = F.col("partition_id").alias("partition_id")
    own = F.broadcast(
        partitions.select(named, *(F.col(quote(name)).alias(f"_key_{name}") for name in spec.partition_by))
    )
    on = [batch[quote(name)].eqNullSafe(own[quote(f"_key_{name}")]) for name in spec.partition_by]
    rows = batch.join(own, on, "left").drop(*(f"_key_{name}" for name in spec.partition_by))
    asked = partitions.join(rows.select("partition_id").distinct(), "partition_id", "left_semi")
    inputs = with_champions(job, asked, F.lit(None).cast("timestamp"))
    run = answerer(spec, run_id, lake.version(SILVER), number, schema)
    given = rows.filter("partition_id IS NOT NULL").withColumn(ASKED, F.lit(True))
    if spec.task == "forecast":
        given = union([given, _since_training(job, inputs)])
    answered = cogrouped(inputs, given, "partition_id", run, schema)
    return answered.unionByName(_unknown(rows, spec, schema, run_id, number))


def _since_training(job: Job, inputs: DataFrame) -> DataFrame:
    """The rows of silver that came since each champion was trained, which bring it up to date."""
    from pyspark.sql import functions as F

    spec, silver = job.spec, job.lake.read(SILVER)
    trained = F.broadcast(inputs.select("partition_id", "bucket", "trained_until"))
    names = ["partition_id", str(spec.columns.time), spec.columns.target, *spec.columns.inputs]
    newer = F.col(quote(str(spec.columns.time))) > F.col("trained_until")
    since = silver.join(trained, ["partition_id", "bucket"]).filter(newer)
    return since.select(*map(quote, dict.fromkeys(names)), F.lit(False).alias(ASKED))


def answerer(spec: Spec, run_id: str, data_version: int, batch: int, schema: StructType) -> Scorer:
    """The function for `cogroup().applyInPandas()`: a partition's row, and the rows that ask for its
    predictions.
    """
    columns = schema.fieldNames()
    common = {"run_id": run_id, "data_version": data_version, "batch": batch}
    payloads = Payloads.of(spec)
    plain = spec.model_copy(update={"fallback": None})  # a fallback is fitted to a history, and none is here

    def answer_partition(partition: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
        return assembled([_answer(plain, own, rows, common, payloads) for own in records(partition)], columns)

    return answer_partition


def _answer(
    spec: Spec, own: dict[str, Any], rows: pd.DataFrame, common: dict[str, Any], payloads: Payloads
) -> Outcome:
    """The partition's outcome with the ids of the rows that asked; where it failed, a row for each of
    them.
    """
    asked = rows[ASKED].astype(bool)
    found = outcome(spec, own, rows, common, payloads)
    rows = rows[asked]
    if found.predicted is not None:
        return replace(found, predicted=found.predicted.assign(**{REQUEST: rows[REQUEST].to_numpy()}))
    kept = [REQUEST, *([str(spec.columns.time)] if spec.task == "forecast" else [])]
    return replace(found, predicted=rows[kept].reset_index(drop=True))


def _unknown(rows: DataFrame, spec: Spec, schema: StructType, run_id: str, number: int) -> DataFrame:
    """The rows of partitions that prepare has not met, each with its error."""
    known = {
        "run_id": F.lit(run_id),
        "batch": F.lit(number),
        "scored_at": F.current_timestamp(),
        "error": F.lit("unknown_partition: no row of this partition was prepared"),
    }
    stray = rows.filter("partition_id IS NULL")
    known |= {name: F.col(quote(name)) for name in stray.columns}
    return stray.select(
        *(known.get(field.name, F.lit(None)).cast(field.dataType).alias(field.name) for field in schema)
    )


def _checkpoint(job: Job, stream: Stream) -> str:
    """Where the stream notes what it has read."""
    if stream.checkpoint:
        return resolve(stream.checkpoint)
    if job.lake.is_catalog:
        raise ManyModelsError(
            "stream.checkpoint: a catalog has no folder for it. Expected a path, e.g. "
            "/Volumes/main/forecasts/stream"
        )
    return f"{job.lake.root}/{job.lake.spec}/_stream"


def _id(job: Job, checkpoint: str) -> str:
    """The stream's own id, which its checkpoint holds: a new one for a checkpoint that is begun anew."""
    return str(
        orjson.loads(
            "".join(row["value"] for row in job.spark.read.text(f"{checkpoint}/metadata").collect())
        )["id"]
    )


def _await(query: StreamingQuery) -> None:
    try:
        query.awaitTermination()
    except StreamingQueryException as error:
        raise ManyModelsError(
            f"the stream stopped: {str(error)[:500]}. Nothing of its last batch was written; start it again"
        ) from error


def _count(job: Job, report: StageReport) -> None:
    report.counts.update(rows=0, errors=0)
    if job.lake.exists(STREAMED):
        mine = job.lake.read(STREAMED).filter(F.col("run_id") == report.run_id)
        row = mine.agg(F.count("*").alias("rows"), F.count("error").alias("errors")).first()
        report.counts.update({name: int(value) for name, value in row.asDict().items()} if row else {})
    report.note = f"{report.counts['rows']:,} rows answered, {report.counts['errors']:,} with an error"
