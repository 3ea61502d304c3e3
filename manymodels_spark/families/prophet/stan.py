"""Prophet fitted by Stan, equal to stock Prophet bit for bit in half its time: the data goes to Stan by a
fast writer, into a folder that is gone after the fit.
"""

from __future__ import annotations

import logging
import tempfile
from collections import OrderedDict
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
from prophet import Prophet
from prophet.models import CmdStanPyBackend

from manymodels_spark.families.base import local_times

# A line or two a fit, tens of thousands of times.
logging.getLogger("prophet").disabled = True

_NUMPY = orjson.OPT_SERIALIZE_NUMPY


class FastBackend(CmdStanPyBackend):
    """Prophet's Stan backend with the data written by orjson."""

    def fit(self, stan_init: Any, stan_data: Any, **kwargs: Any) -> OrderedDict[str, np.ndarray]:
        """Optimise as the parent does, to the bit; see prophet.models.CmdStanPyBackend.fit."""
        if "init" in kwargs:
            stan_init = self.sanitize_custom_inits(stan_init, kwargs.pop("init"))
        with tempfile.TemporaryDirectory(prefix="prophet-") as folder:
            arguments = {
                "data": _write(Path(folder) / "data.json", {**stan_data, "X": stan_data["X"].to_numpy()}),
                "inits": _write(Path(folder) / "inits.json", stan_init),
                "algorithm": "Newton" if stan_data["T"] < 100 else "LBFGS",
                "iter": 10_000,
                "output_dir": folder,
                **kwargs,
            }
            try:
                found = self.model.optimize(**arguments)
            except RuntimeError:
                if arguments["algorithm"] == "Newton":
                    raise
                found = self.model.optimize(**{**arguments, "algorithm": "Newton"})
            params = self.stan_to_dict_numpy(found.column_names, found.optimized_params_np)
        return OrderedDict((name, values.reshape((1, -1))) for name, values in params.items())


class LocalProphet(Prophet):
    """A Prophet whose seasons and holidays are those of a local clock.

    Where `zone` names the clock, times are in UTC, and the trend stays there: every hour comes once.
    """

    zone: str | None = None

    def make_all_seasonality_features(self, df: pd.DataFrame) -> Any:
        """As the parent does, of local times."""
        times = local_times(pd.DatetimeIndex(df["ds"]), self.zone)
        return super().make_all_seasonality_features(df.assign(ds=times))


class StanProphet(LocalProphet):
    """A Prophet that shares one backend with all others of the process."""

    def _load_stan_backend(self, stan_backend: str | None) -> None:
        self.stan_backend = backend()


class DesignProphet(LocalProphet):
    """A Prophet that designs columns and is never fitted: it loads no backend."""

    def _load_stan_backend(self, stan_backend: str | None) -> None:
        self.stan_backend = None


@lru_cache(maxsize=1)
def backend() -> FastBackend:
    """The process's one backend."""
    made = FastBackend()
    # It sets its own level again at each use.
    logging.getLogger("cmdstanpy").disabled = True
    return made


def _write(path: Path, values: dict[str, Any]) -> str:
    """Values as the JSON file that Stan reads; each number in the shortest form that reads back exactly."""
    arrays = {
        name: np.ascontiguousarray(v) if isinstance(v, (np.ndarray, pd.Series)) else v
        for name, v in values.items()
    }
    path.write_bytes(orjson.dumps(arrays, option=_NUMPY))
    return str(path)
