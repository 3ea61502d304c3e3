"""Is everything there that a spec needs? `examine` asks for all of it,
`preflight` for what one stage needs.
"""

from manymodels_spark.doctor.examine import NotReady, examine, preflight
from manymodels_spark.doctor.findings import Finding

__all__ = ["Finding", "NotReady", "examine", "preflight"]
