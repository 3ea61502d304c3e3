"""The bar inside a long wave: partitions fitted by the files that its tasks have written."""

from __future__ import annotations

from threading import Event

import pandas as pd
import pytest

from manymodels_spark.stages.train import in_flight
from manymodels_spark.stages.train.in_flight import InFlight, looking
from manymodels_spark.stages.train.packing import Wave


class Table:
    """A table with files that tasks write."""

    def __init__(self, files: int) -> None:
        self.files, self.looked = files, Event()

    def count(self) -> int:
        self.looked.set()
        return self.files


def wave(number: int, members: int, tasks: int) -> Wave:
    return Wave(number, pd.DataFrame({"partition_id": [str(i) for i in range(members)]}), tasks)


def test_partitions_are_counted_by_the_tasks_that_ended_and_never_too_many() -> None:
    table = Table(files=30)  # of earlier runs
    counted = InFlight(table.count, cores=2)
    counted.begin()
    assert counted.fitted() == 0
    with counted.during(wave(1, members=80, tasks=8)):
        table.files += 2  # both cores are at work, and nothing is fitted yet
        assert counted.fitted() == 0
        table.files += 4
        assert counted.fitted() == 40
        table.files += 20  # tasks were repeated
        assert counted.fitted() == 80
    assert counted.fitted() == 80


def test_waves_at_once_share_what_was_written() -> None:
    table = Table(files=0)
    counted = InFlight(table.count, cores=2)
    with counted.during(wave(1, 80, 8)):
        with counted.during(wave(2, 160, 8)):
            table.files = 10
            assert counted.fitted() == 120  # eight of sixteen tasks
        assert counted.fitted() == 160  # all of the second are committed, no more is known of the first


def test_a_wave_that_failed_counts_no_longer_than_its_run() -> None:
    counted = InFlight(Table(0).count, cores=2)
    with pytest.raises(RuntimeError), counted.during(wave(1, 80, 8)):
        raise RuntimeError("lost")
    assert counted.fitted() == 0


def test_a_table_that_cannot_be_listed_leaves_the_bar_to_the_waves() -> None:
    def refused() -> int:
        raise PermissionError("no listing here")

    shown = list[int]()
    with looking(InFlight(refused, cores=2), shown.append):
        pass
    assert shown == []


def test_the_bar_is_moved_while_the_work_goes_on_and_stands_still_after_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(in_flight, "EVERY_SECONDS", 0.01)
    table, shown, enough = Table(0), list[int](), Event()
    counted = InFlight(table.count, cores=0)

    def show(fitted: int) -> None:
        shown.append(fitted)
        if fitted == 40:
            enough.set()
            raise OSError("the terminal is gone")

    with looking(counted, show), counted.during(wave(1, 80, 8)):
        assert table.looked.wait(10)
        table.files = 4
        assert enough.wait(10)
    assert shown[-1] == 40
