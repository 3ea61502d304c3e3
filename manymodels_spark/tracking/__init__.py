"""MLflow in bulk: many thousands of models in few calls, within a server's limits, without losing or doubling one.

Nothing here knows Spark or Delta.
"""

from __future__ import annotations

import os

# A batch job on a locked-down cluster must not wait for a telemetry host that it cannot reach.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
