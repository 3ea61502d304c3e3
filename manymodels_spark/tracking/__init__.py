"""MLflow in bulk: many thousands of models in few calls, within a server's limits,
without losing or doubling one.

Nothing here knows Spark or Delta.
"""

from __future__ import annotations

import logging
import os

# A batch job on a locked-down cluster must not wait for a telemetry host that it cannot reach.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

# MLflow logs every table that it creates in a new database, and of every run on standard error.
for _name in ("mlflow.store.db.utils", "alembic", "mlflow.tracking.fluent"):
    logging.getLogger(_name).setLevel(logging.WARNING)
# A line with a link for every closed run would stand in the middle of a progress bar.
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
# A model is read in a moment, and thousands of bars are no news.
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
