"""Spark-submit entry point of stage `promote`: spark-submit jobs/promote.py SPEC [options as of `manymodels
promote`].
"""

import sys

from manymodels_spark.cli import main

if __name__ == "__main__":
    main(args=["promote", *sys.argv[1:]])
