"""Spark-submit entry point of stage `ingest`: spark-submit jobs/ingest.py SPEC [options as of `manymodels
ingest`].
"""

import sys

from manymodels_spark.cli import main

if __name__ == "__main__":
    main(args=["ingest", *sys.argv[1:]])
