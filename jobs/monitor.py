"""Spark-submit entry point of stage `monitor`: spark-submit jobs/monitor.py SPEC [options as of `manymodels
monitor`].
"""

import sys

from manymodels_spark.cli import main

if __name__ == "__main__":
    main(args=["monitor", *sys.argv[1:]])
