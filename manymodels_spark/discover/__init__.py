"""From rows of somebody's to a spec: looks at a sample with DuckDB, and knows neither Spark nor MLflow.

`open_sample` reads the source, `discover` finds out what its columns are, `spec_text` writes the spec. What
cannot be told from the rows is a question, with a guess.
"""

from manymodels_spark.discover.finding import Finding, discover
from manymodels_spark.discover.questions import Answers, Question
from manymodels_spark.discover.sample import Limits, Sample, open_sample
from manymodels_spark.discover.spec_text import spec_text

__all__ = ["Answers", "Finding", "Limits", "Question", "Sample", "discover", "open_sample", "spec_text"]
