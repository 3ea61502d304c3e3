"""Which extra of this package brings a module that is not installed."""

from __future__ import annotations

from manymodels_spark.errors import ManyModelsError

EXTRAS = {
    "local": ("pyspark", "delta", "duckdb"),
    "serve": (
        "cachetools",
        "fastapi",
        "httptools",
        "jwt",
        "prometheus_client",
        "pydantic_settings",
        "uvicorn",
        "uvloop",
    ),
    "postgres": ("psycopg",),
    "lightgbm": ("lightgbm",),
    "azure": ("azure", "mssql_python"),
    "otel": ("opentelemetry",),
}


def explained(error: ModuleNotFoundError) -> ManyModelsError | None:
    """The error as one that says what to install; None for a module that no extra brings."""
    module = (error.name or "").split(".")[0]
    for extra, modules in EXTRAS.items():
        if module in modules:
            return ManyModelsError(
                f"This command requires {module}, which is not installed. "
                f"Run: pip install 'manymodels-spark[{extra}]'"
            )
    return None
