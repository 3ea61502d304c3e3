"""Waves are fitted one after the other without a pause, and logged beside the fits."""

from __future__ import annotations

from threading import Event

import pandas as pd
import pytest

from manymodels_spark.stages.train.packing import Wave
from manymodels_spark.stages.train.wave_flow import run_waves

WAVES = [Wave(number, pd.DataFrame({"bucket": [0]}), 1) for number in range(1, 7)]
PATIENCE = 10.0


def nothing() -> None:
    """There is nothing to do between the last fit and the last log."""


def test_every_wave_is_fitted_before_it_is_logged_and_both_once() -> None:
    done: list[tuple[str, int]] = []
    run_waves(
        iter(WAVES),
        lambda wave: done.append(("fit", wave.number)),
        lambda wave: done.append(("log", wave.number)),
        nothing,
    )
    assert sorted(done) == sorted((kind, wave.number) for wave in WAVES for kind in ("fit", "log"))
    assert all(done.index(("fit", wave.number)) < done.index(("log", wave.number)) for wave in WAVES)


def test_fits_go_on_while_a_wave_is_being_logged() -> None:
    last_is_fitted = Event()

    def fit(wave: Wave) -> None:
        if wave is WAVES[-1]:
            last_is_fitted.set()

    def log(wave: Wave) -> None:
        assert last_is_fitted.wait(PATIENCE), "fits wait for the log"

    run_waves(iter(WAVES), fit, log, nothing)


def test_the_next_wave_begins_before_the_present_one_ends() -> None:
    second_began = Event()

    def fit(wave: Wave) -> None:
        if wave is WAVES[1]:
            second_began.set()
        assert second_began.wait(PATIENCE), "the second wave waits for the first"

    run_waves(iter(WAVES), fit, lambda wave: None, nothing)


def test_after_a_failed_fit_what_was_fitted_is_logged_and_nothing_more_is_fitted() -> None:
    fitted, logged, first_is_fitted = list[int](), list[int](), Event()

    def fit(wave: Wave) -> None:
        if wave.number == 1:
            fitted.append(1)
            first_is_fitted.set()
            return
        assert first_is_fitted.wait(PATIENCE)
        raise ValueError(f"wave {wave.number}")

    with pytest.raises(ValueError, match="wave"):
        run_waves(iter(WAVES), fit, lambda wave: logged.append(wave.number), lambda: fitted.append(-1))
    assert fitted == logged == [1]


def test_after_a_failed_log_nothing_more_is_logged_and_its_error_is_raised() -> None:
    tried: list[int] = []

    def log(wave: Wave) -> None:
        tried.append(wave.number)
        raise KeyboardInterrupt(f"wave {wave.number}")

    with pytest.raises(KeyboardInterrupt, match="wave"):
        run_waves(iter(WAVES), lambda wave: None, log, nothing)
    assert len(tried) <= 2, "one for each of the threads that log"


def test_what_follows_the_fits_is_done_beside_the_last_log_and_its_result_is_given() -> None:
    fitted, counted = [], Event()

    def count() -> list[int]:
        counted.set()
        return sorted(fitted)

    def log(wave: Wave) -> None:
        assert counted.wait(PATIENCE), "what follows the fits waits for the log"

    assert run_waves(iter(WAVES), lambda wave: fitted.append(wave.number), log, count) == [
        wave.number for wave in WAVES
    ]
