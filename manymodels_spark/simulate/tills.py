"""What tills of a chain write: a row a day on which something was sold, and a source's ways with such rows.

Stock-outs have a flag, returns may make a day negative, some rows arrive days late, and some are corrected
later by a second row.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from manymodels_spark.simulate.chain import Chain, Flags, Floats, Ints

_NOISE, _POISSON, _STOCK, _RETURNS, _LATE, _CORRECTED = range(20, 26)
# Of all rows: stock-outs, returns, late rows and corrected ones.
STOCK_OUT, RETURNED, LATE, CORRECTED = 0.01, 0.01, 0.02, 0.005


def sales_of_chain(chain: Chain) -> pd.DataFrame:
    """All sales: date, store, item, units, stock_out, closed, promotion, price, updated_at, `arrives`.

    `arrives` is the day on which the source has the row; `updated_at` lies in the night after it. A corrected
    day has two rows, of which the one with the later `updated_at` holds. Days without a sale have no row, but
    for stock-outs.
    """
    units, out = _units(chain)
    day, partition = np.nonzero((units != 0) | out)
    where = (day, partition)
    table = pd.DataFrame(
        {
            "date": chain.dates[day],
            "store": chain.store[partition],
            "item": chain.item[partition],
            "units": units[where],
            "stock_out": out[where].astype(np.int64),
            "closed": 0,
            "promotion": chain.promotion[where],
            "price": chain.price(chain.promotion)[where],
            "arrives": chain.dates[day] + pd.to_timedelta(_delay(chain)[where], unit="D"),
        }
    )
    fixed = _corrections(chain)[where]
    table = _with_corrections(table, fixed)
    return table.assign(updated_at=table["arrives"] + pd.Timedelta(hours=27))


def _units(chain: Chain) -> tuple[Floats, Flags]:
    """Units of each day and whether its stock ran out, shape (days, partitions)."""
    shape, open_and_alive = chain.expected.shape, chain.open & chain.alive
    spread = chain.rng(_NOISE).gamma(20.0, 1 / 20.0, shape)
    units = chain.rng(_POISSON).poisson(np.maximum(chain.expected * spread, 0)).astype(np.float64)
    stock = chain.rng(_STOCK).random((shape[0], 2, shape[1]))
    out = (stock[:, 0] < STOCK_OUT) & open_and_alive
    units = np.where(out, np.floor(units * stock[:, 1]), units)
    returned = (chain.rng(_RETURNS).random(shape) < RETURNED) & (units != 0)
    return units - np.where(returned, np.ceil(chain.expected * 0.2 + 1), 0.0), out


def _delay(chain: Chain) -> Ints:
    rng = chain.rng(_LATE)
    late, days = rng.random((chain.days, chain.partitions)), chain.rng(_LATE, 1)
    return np.where(late < LATE, days.integers(1, 4, late.shape), 0)


def _corrections(chain: Chain) -> Ints:
    """The days from a row's arrival to its correction; 0 where it is right at once."""
    corrected = chain.rng(_CORRECTED).random((chain.days, chain.partitions)) < CORRECTED
    return np.where(corrected, chain.rng(_CORRECTED, 1).integers(1, 6, corrected.shape), 0)


def _with_corrections(table: pd.DataFrame, days: Ints) -> pd.DataFrame:
    """The rows, those to be corrected twice: first with wrong units, `days` later with the right ones."""
    wrong, right = table.copy(), table[days > 0]
    wrong.loc[days > 0, "units"] = np.ceil(right["units"].abs() * 1.5) + 1
    late = right["arrives"] + pd.to_timedelta(days[days > 0], unit="D")
    return pd.concat([wrong, right.assign(arrives=late)], ignore_index=True)
