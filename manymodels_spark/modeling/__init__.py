"""One partition in pandas: clean it, backtest and choose among candidates, fit, predict, measure.

Knows neither Spark nor MLflow.
"""
