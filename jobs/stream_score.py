"""Spark-submit entry point of the stream: spark-submit jobs/stream_score.py SPEC [options as of `manymodels
stream-score`].
"""

import sys

from manymodels_spark.cli import main

if __name__ == "__main__":
    main(args=["stream-score", *sys.argv[1:]])
