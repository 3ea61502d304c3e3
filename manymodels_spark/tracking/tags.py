"""The tags that a model carries in MLflow: what they are called and how they are made.

Partition columns are tags of their own name, with values as a person reads them; everything else that this
package writes starts with `manymodels.`.
"""

from __future__ import annotations

from dataclasses import dataclass

from manymodels_spark.keys import PartitionKey, tag_value

PREFIX = "manymodels."
SPEC = "manymodels.spec"
SPEC_HASH = "manymodels.spec_hash"
PARTITION = "manymodels.partition_id"
KEY = "manymodels.key"
FAMILY = "manymodels.family"
FINGERPRINT = "manymodels.fingerprint"
DATA_VERSION = "manymodels.data_version"
SHA256 = "manymodels.sha256"
JOB = "manymodels.job"
WAVE = "manymodels.wave"
BATCH = "manymodels.batch"
KIND = "manymodels.kind"
VERSION = "manymodels.version"
COMMIT = "manymodels.git_commit"
STATUS = "manymodels.status"
ROLE = "manymodels.role"
SOURCE_MODEL = "manymodels.source_model"
SOURCE_RUN = "manymodels.source_run"
PROMOTION = "manymodels.promotion"
REPLACES = "manymodels.replaces"
METRICS = "manymodels.metrics"

CHAMPION = "champion"
PREVIOUS = "previous"
RETIRED = "retired"
ROLLED_BACK = "rolled_back"
STAGED = "staged"

PAYLOAD_FILE = "payload.bin"


@dataclass(frozen=True)
class Origin:
    """What all models of one training job have in common."""

    spec: str
    spec_hash: str
    job: str
    data_version: int
    package_version: str
    commit: str | None = None

    def tags(self) -> dict[str, str]:
        """The tags that say where a model comes from."""
        tags = {
            SPEC: self.spec,
            SPEC_HASH: self.spec_hash,
            JOB: self.job,
            DATA_VERSION: str(self.data_version),
            VERSION: self.package_version,
        }
        return {**tags, COMMIT: self.commit} if self.commit else tags


def partition_tags(key: PartitionKey) -> dict[str, str]:
    """The tags by which people and programs find the models of a partition."""
    return {**key.tags, PARTITION: key.id, KEY: tag_value(key.canonical)}


def where(**equal: str) -> str:
    """A filter for MLflow's search: all the tags given (by constant name in this module) equal these values.

    >>> where(SPEC="retail", ROLE="champion")
    "tags.`manymodels.spec` = 'retail' AND tags.`manymodels.role` = 'champion'"
    """
    pairs = [(globals()[name], value.replace("'", "''")) for name, value in equal.items()]
    return " AND ".join(f"tags.`{tag}` = '{value}'" for tag, value in pairs)
