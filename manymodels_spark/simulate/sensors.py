"""Wells with hourly sensors that drift, and failures that last for days and announce themselves before."""

from __future__ import annotations

import numpy as np
import pandas as pd

from manymodels_spark.simulate.chain import Chain, Flags, Floats
from manymodels_spark.simulate.wells import PUMPS

FIELDS, PER_FIELD, DAYS_AHEAD = 2, 3, 7
_RISK, _LENGTH, _DRIFT, _NOISE = range(60, 64)


def readings_of(chain: Chain) -> pd.DataFrame:
    """reading_id, field, well, reading, the sensors, pump_type, status, failure_within_7d, `arrives`.

    The label of a reading says whether the well fails within seven days; it is known seven days later, and
    comes as a second row of the same reading_id with a later `updated_at`. Until then it is missing.
    """
    frames = [_well(chain, number) for number in range(FIELDS * PER_FIELD)]
    table = pd.concat(frames, ignore_index=True)
    known = table.assign(arrives=table["arrives"] + pd.Timedelta(days=DAYS_AHEAD))
    both = pd.concat([table.assign(failure_within_7d=None), known], ignore_index=True)
    return both.assign(updated_at=both["arrives"] + pd.Timedelta(hours=27))


def _well(chain: Chain, number: int) -> pd.DataFrame:
    failed, coming = failures(chain, number)
    hourly = chain.days * 24
    failing, near = np.repeat(failed, 24), np.repeat(coming, 24)
    drift = chain.rng(_DRIFT, number).normal(0, 1, (hourly, 2)).cumsum(axis=0)
    noise = chain.rng(_NOISE, number).normal(0, 1, (hourly, 4))
    pressure = 200 + 0.15 * drift[:, 0] + 4 * noise[:, 0] - 60 * failing
    vibration = 2 + 0.004 * drift[:, 1] + 0.3 * noise[:, 1] + 1.2 * near + 2 * failing
    temperature = np.where(noise[:, 3] > 2.0, np.nan, 60 + 0.1 * pressure + 2 * noise[:, 2])
    reading = pd.date_range(chain.dates[0], periods=hourly, freq="h")
    return pd.DataFrame(
        {
            "reading_id": np.arange(hourly) * FIELDS * PER_FIELD + number,
            "field": f"F{number // PER_FIELD + 1:02d}",
            "well": number % PER_FIELD + 1,
            "reading": reading,
            "pressure": pressure.round(2),
            "vibration": vibration.round(3),
            "temperature": temperature.round(2),
            "flow": np.where(failing, 0.0, (0.4 * pressure - 3 * vibration).round(2)),
            "pump_type": PUMPS[number % len(PUMPS)],
            "status": np.where(failing, "failed", "running"),
            "failure_within_7d": np.where(near > 0, "yes", "no"),
            "arrives": reading.normalize(),
        }
    )


def failures(chain: Chain, number: int) -> tuple[Flags, Floats]:
    """Whether a well is failed on each day, and how near a failure is: 0, or from 1/7 to 1 the day before.

    A failure begins on one day in sixty and lasts for two to five.
    """
    begins = chain.rng(_RISK, number).random(chain.days + DAYS_AHEAD) < 1 / 60
    lasts = chain.rng(_LENGTH, number).integers(2, 6, chain.days + DAYS_AHEAD)
    day = np.arange(chain.days)
    failed, near = np.zeros(chain.days, dtype=np.bool_), np.zeros(chain.days)
    for start in np.flatnonzero(begins):
        failed |= (day >= start) & (day < start + lasts[start])
        ahead = start - day
        near = np.maximum(near, np.where((ahead >= 0) & (ahead < DAYS_AHEAD), 1 - ahead / DAYS_AHEAD, 0.0))
    return failed, np.where(failed, 1.0, near)
