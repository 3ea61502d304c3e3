"""`python -m manymodels_spark.cli COMMAND SPEC`: the command line where its script is not on the path."""

from __future__ import annotations

from manymodels_spark.cli import main

if __name__ == "__main__":
    main()
