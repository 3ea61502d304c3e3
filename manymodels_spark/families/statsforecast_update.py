"""The state of a fitted model after newer values, by the recursion that statsforecast fitted it with.

Each function takes the library's state and the values right after those that it has seen, shape (n,), and
gives a new state, or None where the state is not of its kind or the values lead to no number. Parameters
stay; what describes the past (fitted values, errors) is not brought up to date.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
State = dict[str, Any]


def smoothing(state: State, values: Floats) -> State | None:
    """Exponential smoothing in state space form: level, trend and seasons move on from the last state."""
    from statsforecast.ets import pegelsresid_C

    if "components" not in state:
        return None
    error, trend, season, damped = state["components"]
    alpha, beta, gamma, phi = state["par"][:4]
    _, _, states, _ = pegelsresid_C(
        y=values,
        m=state["m"],
        init_state=state["states"][-1],
        errortype=error,
        trendtype=trend,
        seasontype=season,
        damped=damped != "N",
        alpha=alpha,
        beta=beta,
        gamma=gamma,
        phi=phi,
        nmse=3,
    )
    return _finite({**state, "states": states[-1:]}, states[-1])


def complex_smoothing(state: State, values: Floats) -> State | None:
    """Complex exponential smoothing: the last season's states move on."""
    from statsforecast.ces import cescalc, switch_ces

    if "seasontype" not in state:
        return None
    kind, known, count = state["seasontype"], state["n"], len(values)
    period = 1 if kind == "N" else state["m"]
    # Row i + period is the state after value i; as many rows follow as a season has.
    states = np.zeros((count + 2 * period, state["states"].shape[1]))
    states[:period] = state["states"][known : known + period]
    errors, mean_squares, steps = np.empty(count), np.empty(3), 3
    par = {name: state["par"][name] for name in ("alpha_0", "alpha_1", "beta_0", "beta_1")}
    season = switch_ces(kind)
    # Without the pass backwards, which would look for another beginning.
    run: Any = cescalc
    run(values, states, period, season, *par.values(), errors, mean_squares, steps, 0)
    return _finite({**state, "states": states, "n": count}, states[count : count + period])


def theta(state: State, values: Floats) -> State | None:
    """Theta: level, mean and drift move on, of the values without their seasons."""
    from statsforecast._lib import theta as library
    from statsforecast.theta import switch_theta

    if "modeltype" not in state:
        return None
    known, count = state["n"], len(values)
    newer = dict(state)
    if state.get("decompose", False):
        season = np.asarray(state["seas_forecast"]["mean"])
        factors = np.resize(season, count)
        multiplied = state["decomposition_type"] == "multiplicative"
        values = values / factors if multiplied else values - factors
        newer["seas_forecast"] = {**state["seas_forecast"], "mean": np.roll(season, -count)}
    states = np.zeros((known + count, 5))
    states[:known] = state["states"][-known:]
    kind, alpha, degree = switch_theta(state["modeltype"]), state["par"]["alpha"], state["par"]["theta"]
    for position, value in enumerate(values, start=known):
        library.update(states, position, kind, alpha, degree, value, False)
    return _finite({**newer, "states": states, "n": known + count}, states[-1])


def arima(state: State, values: Floats) -> State | None:
    """ARIMA: the Kalman filter with the same coefficients over all values, which the state holds."""
    from statsforecast.arima import forward_arima

    if "arma" not in state:
        return None
    run: Any = forward_arima
    newer = run({**state, "coef": dict(state["coef"])}, np.append(state["x"], values))
    return _finite(newer, newer["model"]["a"])


def drift(state: State, values: Floats) -> State | None:
    """A random walk with drift: the last value moves on, the slope stays."""
    return _finite({**state, "last_y": values[-1]}, values[-1:])


def simple(state: State, values: Floats) -> State | None:
    """Simple exponential smoothing: the level moves on."""
    level, alpha = float(np.ravel(state["mean"])[0]), float(state["alpha"])
    for value in values:
        level += alpha * (value - level)
    return _finite({**state, "mean": np.array([level])}, np.array([level]))


def _finite(state: State, values: Floats) -> State | None:
    return state if bool(np.isfinite(values).all()) else None
