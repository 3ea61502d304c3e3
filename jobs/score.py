"""Spark-submit entry point of stage `score`: spark-submit jobs/score.py SPEC [options as of `manymodels
score`].
"""

import sys

from manymodels_spark.cli import main

if __name__ == "__main__":
    main(args=["score", *sys.argv[1:]])
