"""Train: fit every partition that needs it, in waves, and log each model to MLflow."""
