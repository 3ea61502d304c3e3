"""Spark-submit entry point of stage `train`: spark-submit jobs/train.py SPEC [options as of `manymodels
train`].
"""

import sys

from manymodels_spark.cli import main

if __name__ == "__main__":
    main(args=["train", *sys.argv[1:]])
