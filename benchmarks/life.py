"""A chain's life, night after night: whether every night is as good as the first, where the truth is known.

    make bench-life                                                    60 nights of 60 partitions
    make bench-life ARGS="--nights 10 --stores 3 --items 4 --history 120"

Every night `conf/life.yaml` runs from the source to the warehouse; training and promotion once a week
(`--train-every 1` for every night); every week also monitor, retire and maintain. Then each forecast that was
made is held against what the simulated days brought, also those after the last night.

- `scored_share`: the worst night's share of active partitions with a forecast for the next day. Active is
  what is on sale, with two rows in the source, one of them of the last four weeks.
- `promised_over_realised`: the error that fits report over that of their forecasts, both in units, summed
  over all forecasts of champions for open days on which the item was on sale; `_with_dead` also over days on
  which it was not any more.
- `coverage_80`, `coverage_95`: share of the same days' sales in the interval, fallbacks included, of the
  forecasts that have one; a series too short for a fold has none: `without_interval` is the share of those.
- `inactive_found`: share of dead items that the last night calls inactive, of those without a sale for four
  weeks of open days; `inactive_wrong` counts active ones that it calls so.
- `negative`: predictions with a value or a bound below zero.
- `seconds_growth`: the median night of the last week over that of night 5's week (nights 2 to 8).
- `lake_growth`, `driver_rss_growth`: the lake's bytes, and the resident memory of the driver's Python and
  Java, after the last night over those after night 5.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import psutil

from benchmarks.common import bytes_of, emit, scratch
from manymodels_spark.errors import TooManyFailures
from manymodels_spark.families.checked_spec import spec_of
from manymodels_spark.lake.tables import FITS, PARTITIONS, PREDICTIONS, SCORING
from manymodels_spark.simulate import Chain, Life, extend_life, write_life
from manymodels_spark.stages.maintain.retire import retire
from manymodels_spark.stages.maintain.stage import maintain
from manymodels_spark.stages.monitor.stage import monitor
from manymodels_spark.stages.pipeline import STAGES
from manymodels_spark.stages.runs.job import Job, StageReport

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SPEC = Path(__file__).parent.parent / "conf" / "life.yaml"
WEEK, REFERENCE = 7, 5
KEY, DAY = ["store", "item"], pd.Timedelta(days=1)
WEEKLY = {"monitor": monitor, "retire": retire, "maintain": maintain}


@dataclass(frozen=True)
class Night:
    """What one night cost and what it left."""

    seconds: float
    scored: int
    active: int
    lake: int
    memory: float
    counts: Counter[str]


@dataclass
class Nights:
    """A chain's nights: the source, the job that runs on it, and the truth."""

    spark: SparkSession
    folder: Path
    chain: Chain
    train_every: int
    lived: list[Night] = field(default_factory=list)

    @cached_property
    def life(self) -> Life:
        """The truth; the job sees only the database."""
        return Life(self.chain)

    @cached_property
    def job(self) -> Job:
        """The shipped spec, with all its places in the benchmark's folder."""
        text = SPEC.read_text().replace("${MANYMODELS_LIFE_DB:-.manymodels/life.duckdb}", str(self.database))
        return Job.of(spec_of(text.replace(".manymodels", str(self.folder))), self.spark)

    @property
    def database(self) -> Path:
        """The source."""
        return self.folder / "source.duckdb"

    @property
    def today(self) -> pd.Timestamp:
        """The day whose night comes."""
        return self.life.first_night + len(self.lived) * DAY

    def live(self, nights: int) -> None:
        """Let so many days pass, each with its night."""
        write_life(self.database, self.chain, self.today)
        for number in range(nights):
            if number:
                extend_life(self.database)
            self._night(number)

    def _night(self, number: int) -> None:
        begin, counts = time.perf_counter(), Counter[str]()
        training = number % self.train_every == 0
        for name, stage in STAGES.items():
            if training or name not in ("train", "promote"):
                self._run(name, stage, counts)
        if number % WEEK == WEEK - 1:
            for name, stage in WEEKLY.items():
                self._run(name, stage, counts)
        seconds = time.perf_counter() - begin
        active, scored = active_on(self.life, self.today, self._inactive_after), self._scored()
        missing = active.difference(scored)
        counts["missing"] = len(missing)
        night = Night(seconds, len(active) - len(missing), len(active), self._lake_bytes(), _memory(), counts)
        _print_night(number, self.today, night, list(missing[:3]))
        self.lived.append(night)

    def _run(self, name: str, stage: Any, counts: Counter[str]) -> None:
        """One stage; beyond a limit of the spec it has done its work, too, and the night goes on."""
        try:
            report: StageReport = stage(self.job)
        except TooManyFailures as error:
            report = error.report
            counts["beyond_limits"] += 1
        counts.update({f"{name}.{what}": count for what, count in report.counts.items()})
        counts.update({f"{name}.seconds": report.seconds})  # type: ignore[dict-item]

    @property
    def _inactive_after(self) -> int:
        return self.job.spec.prepare.inactive_after or 4 * WEEK

    def _scored(self) -> pd.MultiIndex:
        """The partitions with a forecast for the next day in tonight's scoring."""
        tomorrow = f"to_date(date) = date'{self.today + DAY:%Y-%m-%d}'"
        rows = self.job.lake.read(SCORING).filter(f"error IS NULL AND {tomorrow}").select(*KEY).distinct()
        return pd.MultiIndex.from_frame(rows.toPandas().astype("int64"))

    def _lake_bytes(self) -> int:
        return bytes_of(self.folder / "lake")

    def figures(self) -> dict[str, Any]:
        """All figures, after the last night."""
        first, last = self.lived[min(REFERENCE, len(self.lived) - 1)], self.lived[-1]
        seconds = [night.seconds for night in self.lived]
        week = slice(REFERENCE - WEEK // 2, REFERENCE + WEEK // 2 + 1)
        return {
            "nights": len(self.lived),
            "scored_share": min(night.scored / night.active for night in self.lived),
            **self.accuracy(),
            **self.inactive(),
            "seconds_growth": statistics.median(seconds[-WEEK:]) / statistics.median(seconds[week]),
            "lake_growth": last.lake / first.lake,
            "driver_rss_growth": last.memory / first.memory,
            "seconds_a_night": statistics.median(seconds),
            "nights_beyond_limits": sum(night.counts["beyond_limits"] > 0 for night in self.lived),
            "promoted": sum(night.counts["promote.promoted"] for night in self.lived),
            "refused": sum(night.counts["promote.refused"] for night in self.lived),
        }

    def accuracy(self) -> dict[str, float]:
        """Every forecast of all nights against what came."""
        predicted = self.job.lake.read(PREDICTIONS).toPandas().assign(date=lambda rows: _days(rows["date"]))
        fits = self.job.lake.read(FITS).selectExpr("partition_id", "sha256", "metrics['wape'] AS promised")
        promises = fits.toPandas().dropna().drop_duplicates(["partition_id", "sha256"])
        table = predicted.merge(promises, on=["partition_id", "sha256"], how="left")
        return judged(table.merge(outcomes(self.life), on=[*KEY, "date"]))

    def inactive(self) -> dict[str, float]:
        """Dead items found, and active ones called dead, on the last night."""
        partitions, today = self.job.lake.read(PARTITIONS), self.today - DAY
        if "inactive" not in partitions.columns:
            return {"inactive_found": 0.0, "inactive_wrong": 0}
        found = partitions.filter("inactive").select(*KEY).toPandas().astype("int64")
        listed = pd.MultiIndex.from_frame(found)
        dead = dead_on(self.life, today, self._inactive_after)
        return {
            "inactive_found": len(dead.intersection(listed)) / len(dead) if len(dead) else 1.0,
            "inactive_wrong": len(active_on(self.life, today, self._inactive_after).intersection(listed)),
        }


def main() -> None:
    """Live, and print the line of JSON."""
    from manymodels_spark.spark.session import get_session

    arguments = _arguments()
    shape = {name: getattr(arguments, name) for name in ("seed", "stores", "items", "history")}
    with scratch() as folder:
        nights = Nights(
            get_session("bench-life"), folder, chain_of(arguments.nights, **shape), arguments.train_every
        )
        nights.live(arguments.nights)
        emit("life", workload={**shape, "train_every": arguments.train_every}, **nights.figures())


def chain_of(nights: int, **shape: int) -> Chain:
    """A chain that lives for so many nights, and for two months after them."""
    return Chain(**shape, days=shape["history"] + nights + 62)


def active_on(life: Life, day: pd.Timestamp, inactive_after: int) -> pd.MultiIndex:
    """The partitions on sale with two rows in the source by the end of a day, one of them recent."""
    sales = life.until(day)["sales"]
    dates = sales.groupby(KEY)["date"].agg(["max", "nunique"])
    recent = dates[(dates["nunique"] > 1) & (dates["max"] > day - inactive_after * DAY)].index
    truth = life.truth()
    return recent.intersection(_index(truth[(truth["date"] == day) & truth["alive"]]))


def dead_on(life: Life, day: pd.Timestamp, inactive_after: int) -> pd.MultiIndex:
    """The partitions that died, and have not sold anything on so many open days since."""
    last = life.until(day)["sales"].groupby(KEY)["date"].max().rename("last").reset_index()
    truth = life.truth()
    truth = truth[truth["date"] <= day]
    since = truth.merge(last, on=KEY)
    silent = since[since["open"] & (since["date"] > since["last"])].groupby(KEY).size()
    died = _index(truth[(truth["date"] == day) & ~truth["alive"]])
    return silent[silent > inactive_after].index.intersection(died)


def outcomes(life: Life) -> pd.DataFrame:
    """store, item, date, units, on_sale: the sales of every open day, returns as 0."""
    table = life.truth().merge(life.actuals(), on=[*KEY, "date"], how="left")
    table = table[table["open"]].assign(units=table["units"].fillna(0.0).clip(lower=0.0))
    return table[[*KEY, "date", "units"]].assign(on_sale=table["alive"])


def judged(rows: pd.DataFrame) -> dict[str, float]:
    """Promised error over the real one, coverage and negatives; `rows` are forecasts with what came."""
    numbers = [name for name in rows if name == "prediction" or name.startswith(("lower_", "upper_"))]
    alive = rows[rows["on_sale"]]
    inside = {f"coverage_{level}": _inside(alive, level) for level in (80, 95)}
    return {
        "promised_over_realised": _promise(alive),
        "promised_over_realised_with_dead": _promise(rows),
        **inside,
        "negative": int((rows[numbers] < 0).any(axis=1).sum()),
        "judged": len(alive),
        "fallback_share": float(alive["fallback"].mean()),
        "without_interval": float(alive["lower_80"].isna().mean()),
    }


def _inside(rows: pd.DataFrame, level: int) -> float:
    """The share of what came inside the interval, of forecasts that have one."""
    known = rows[rows[f"lower_{level}"].notna()]
    return float(known["units"].between(known[f"lower_{level}"], known[f"upper_{level}"]).mean())


def _promise(rows: pd.DataFrame) -> float:
    """Units of error that fits promised (WAPE x units) over those that came, of champions' forecasts."""
    own = rows[~rows["fallback"].astype(bool) & rows["promised"].notna()]
    came = (own["units"] - own["prediction"]).abs().sum()
    return float((own["promised"] * own["units"]).sum() / came)


def _index(rows: pd.DataFrame) -> pd.MultiIndex:
    return pd.MultiIndex.from_frame(rows[KEY])


def _days(times: pd.Series[Any]) -> pd.Series[Any]:
    return pd.to_datetime(times).dt.normalize().astype("datetime64[ns]")


def _memory() -> float:
    """Resident MiB of this process and its Java."""
    own = psutil.Process()
    java = [child for child in own.children(recursive=True) if "java" in child.name()]
    return sum(process.memory_info().rss for process in (own, *java)) / 2**20


def _print_night(number: int, day: pd.Timestamp, night: Night, missing: list[Any]) -> None:
    counts = night.counts
    promoted = f"{counts['promote.promoted']} promoted, {counts['promote.refused']} refused"
    share = f"{night.scored}/{night.active} (fallback {counts['score.fallback']})"
    print(
        f"night {number:>3}  {day:%a %Y-%m-%d}  {night.seconds:5.1f} s  scored {share}  "
        f"inactive {counts['prepare.inactive']}  {promoted}  "
        f"lake {night.lake / 2**20:.1f} MiB  memory {night.memory:.0f} MiB"
        + (f"  without a forecast: {missing}" if missing else ""),
        file=sys.stderr,
        flush=True,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nights", type=int, default=60)
    parser.add_argument("--stores", type=int, default=6)
    parser.add_argument("--items", type=int, default=10)
    parser.add_argument("--history", type=int, default=400, help="days before the first night")
    parser.add_argument("--train-every", type=int, default=WEEK, help="nights from one training to the next")
    parser.add_argument("--seed", type=int, default=7)
    return parser.parse_args()


if __name__ == "__main__":
    main()
