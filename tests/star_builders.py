"""A small star by hand: the loaded tables with rows that a
person can add up, and what the measures must give on them.
"""

from __future__ import annotations

from manymodels_spark.warehouse import views

STAR = views.Star("sales", ("store", "item"), "date", (80,), "sales_predictions")
TABLES = {
    "partitions": 'partition_id VARCHAR, store INTEGER, item VARCHAR, rows BIGINT, start TIMESTAMP, "end" '
    "TIMESTAMP",
    "champions": "partition_id VARCHAR, model_id VARCHAR, family VARCHAR, promoted_at TIMESTAMP",
    "quarantine": "partition_id VARCHAR, reason VARCHAR, advice VARCHAR",
    "predictions": "partition_id VARCHAR, cutoff TIMESTAMP, date TIMESTAMP, prediction DOUBLE, lower_80 "
    "DOUBLE, upper_80 DOUBLE, "
    "fallback BOOLEAN, family VARCHAR, model_id VARCHAR, scored_at TIMESTAMP",
    "actuals": "partition_id VARCHAR, date TIMESTAMP, actual DOUBLE",
    "metrics": "partition_id VARCHAR, run_id VARCHAR, family VARCHAR, metric VARCHAR, value DOUBLE, "
    "fitted_at TIMESTAMP",
    "runs": "run_id VARCHAR, stage VARCHAR, status VARCHAR, started_at TIMESTAMP, ended_at TIMESTAMP, "
    "seconds DOUBLE, calls BIGINT, "
    "note VARCHAR",
    "alerts": 'partition_id VARCHAR, "check" VARCHAR, subject VARCHAR, value DOUBLE, reference DOUBLE, '
    "shift DOUBLE, advice VARCHAR, "
    '"at" TIMESTAMP',
}
ROWS = """
INSERT INTO sales_partitions VALUES ('p', 1, 'a', 90, '2026-01-01', '2026-04-01'),
  ('q', 1, 'b', 90, '2026-01-01', '2026-04-01'),
  ('r', 2, 'a', 3, '2026-01-01', '2026-01-03'), ('s', 2, 'b', 90, '2026-01-01', '2026-04-01');
INSERT INTO sales_champions VALUES ('p', 'm2', 'theta', '2026-04-02'), ('q', 'm3', 'prophet', '2026-04-02');
INSERT INTO sales_quarantine VALUES ('r', 'too_short', 'Shorten the horizon');
INSERT INTO sales_predictions VALUES
  ('p', '2026-03-30', '2026-03-31', 12, 10, 14, false, 'theta', 'm1', '2026-03-30'),
  ('p', '2026-03-30', '2026-04-01', 20, 18, 19, false, 'theta', 'm1', '2026-03-30'),
  ('p', '2026-04-01', '2026-04-02', 11, 9, 13, false, 'theta', 'm2', '2026-04-01'),
  ('q', '2026-04-01', '2026-04-02', 30, 20, 40, false, 'prophet', 'm3', '2026-04-01'),
  ('s', '2026-04-01', '2026-04-02', 5, NULL, NULL, true, 'seasonal_naive', NULL, '2026-04-01');
INSERT INTO sales_actuals VALUES ('p', '2026-03-31', 10), ('p', '2026-04-01', 25), ('q', '2026-04-01', 7);
INSERT INTO sales_runs VALUES ('1', 'train', 'running', NULL, NULL, 0, 0, ''),
  ('1', 'train', 'done', NULL, NULL, 60, 400, 'x'),
  ('2', 'score', 'done', NULL, NULL, 15.5, 3, 'y');
INSERT INTO sales_metrics VALUES ('p', '1', 'theta', 'wape', 0.2, '2026-04-01');
"""

BY_HAND = {
    "Partitions": 4,
    "In production": 2,
    "In quarantine": 1,
    "Share in production": 0.5,
    "Share by fallback": 1 / 5,
    "MLflow calls": 403,
    "Run seconds": 75.5,
    "Actual": 42,
    "Forecast": 11 + 30 + 5,
    # |12 - 10| + |20 - 25| over 10 + 25; the bias of them +2 - 5
    "WAPE": 7 / 35,
    "Bias": -3 / 35,
    "Steps judged": 2,
    "Coverage 80": 0.5,
}
