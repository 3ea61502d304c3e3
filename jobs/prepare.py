"""Spark-submit entry point of stage `prepare`: spark-submit jobs/prepare.py SPEC [options as of `manymodels
prepare`].
"""

import sys

from manymodels_spark.cli import main

if __name__ == "__main__":
    main(args=["prepare", *sys.argv[1:]])
