"""Real-time scoring: every partition's champion behind one endpoint, loaded on demand, within bounded memory.

Nothing here knows Spark or Delta; MLflow is known to `mlflow_source` alone.
"""
