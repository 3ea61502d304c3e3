"""Spark-submit entry point of the whole job: spark-submit jobs/run.py SPEC [options as of `manymodels
run`].
"""

import sys

from manymodels_spark.cli import main

if __name__ == "__main__":
    main(args=["run", *sys.argv[1:]])
