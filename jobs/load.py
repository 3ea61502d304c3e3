"""Spark-submit entry point of stage `load`: spark-submit jobs/load.py SPEC [options as of `manymodels
load`].
"""

import sys

from manymodels_spark.cli import main

if __name__ == "__main__":
    main(args=["load", *sys.argv[1:]])
