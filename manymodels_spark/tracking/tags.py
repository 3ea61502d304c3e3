"""The tags that a model carries in MLflow: what they are called and how they are made.

Partition columns are tags of their own name, with values in readable form; everything else that this
package writes starts with `manymodels.`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from manymodels_spark.errors import TrackingError
from manymodels_spark.keys import TAG_VALUE_LIMIT, PartitionKey

PREFIX = "manymodels."
# Of the tags and of what they mean. A record that names none is of the first.
RECORD_FORMAT, _FORMAT = 1, "format"
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
ROLLBACK = "manymodels.rollback"
METRICS = "manymodels.metrics"
TEST_METRIC = "manymodels.test_metric"
CUTOFF = "manymodels.cutoff"
FOLDS = "manymodels.folds"
FACTS = "manymodels.facts"
DIGEST = "manymodels.digest"
ROUTE_OF = "manymodels.route_of"
PARTITIONS = "manymodels.partitions"

# What `pack` puts together, with all that begins so.
PACKED = (
    KEY,
    SHA256,
    FINGERPRINT,
    DATA_VERSION,
    JOB,
    STATUS,
    SOURCE_MODEL,
    SOURCE_RUN,
    PROMOTION,
    REPLACES,
    METRICS,
    CUTOFF,
    FOLDS,
    VERSION,
    COMMIT,
    SPEC_HASH,
    WAVE,
)

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
        """The tags of a model's origin."""
        tags = {
            SPEC: self.spec,
            SPEC_HASH: self.spec_hash,
            JOB: self.job,
            DATA_VERSION: str(self.data_version),
            VERSION: self.package_version,
        }
        return {**tags, COMMIT: self.commit} if self.commit else tags


def partition_tags(key: PartitionKey) -> dict[str, str]:
    """The tags that find the models of a partition.

    Values of columns may be cut (see `keys.tag_value`); the canonical key is whole,
    in several tags where it is long.
    """
    return {**key.tags, PARTITION: key.id, **_pieces(KEY, key.canonical)}


def key_of(tags: Mapping[str, str]) -> str:
    """The canonical key in the tags of a model: the inverse of `partition_tags`."""
    return _whole(KEY, tags)


def pack(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags with all that nobody searches for in one of them, `FACTS`, as JSON: a server's search takes
    its time by the tag.
    """
    seen = {name: value for name, value in tags.items() if not name.startswith(PACKED)}
    facts = {name.removeprefix(PREFIX): value for name, value in tags.items() if name not in seen}
    if RECORD_FORMAT > 1:
        facts[_FORMAT] = str(RECORD_FORMAT)
    return (
        {**seen, **_pieces(FACTS, json.dumps(facts, sort_keys=True, ensure_ascii=False))}
        if facts
        else dict(seen)
    )


def unpack(tags: Mapping[str, str]) -> dict[str, str]:
    """The inverse of `pack`; tags that were not packed come back as they are.

    Raises:
        TrackingError: The record is of a newer version of this package.

    """
    if FACTS not in tags:
        return dict(tags)
    facts = orjson.loads(_whole(FACTS, tags))
    if (found := int(facts.pop(_FORMAT, 1))) > RECORD_FORMAT:
        raise TrackingError(
            f"a model's record in MLflow has format {found}, and this version reads up to {RECORD_FORMAT}. "
            "Install a newer manymodels-spark"
        )
    seen = {name: value for name, value in tags.items() if not name.startswith(FACTS)}
    return {**seen, **{PREFIX + name: value for name, value in facts.items()}}


def _pieces(name: str, text: str) -> dict[str, str]:
    """A text of any length as tags: `name`, `name.2`, `name.3`, ..."""
    starts = range(0, max(1, len(text)), TAG_VALUE_LIMIT)
    return {
        name if n == 1 else f"{name}.{n}": text[at : at + TAG_VALUE_LIMIT]
        for n, at in enumerate(starts, start=1)
    }


def _whole(name: str, tags: Mapping[str, str]) -> str:
    """The inverse of `_pieces`."""
    pieces, number = [tags[name]], 2
    while (piece := tags.get(f"{name}.{number}")) is not None:
        pieces.append(piece)
        number += 1
    return "".join(pieces)


def where(**equal: str) -> str:
    """A filter for MLflow's search: all the tags given (by constant name in this module) equal these values.

    >>> where(SPEC="retail", ROLE="champion")
    "tags.`manymodels.spec` = 'retail' AND tags.`manymodels.role` = 'champion'"
    """
    pairs = [(globals()[name], value.replace("'", "''")) for name, value in equal.items()]
    return " AND ".join(f"tags.`{tag}` = '{value}'" for tag, value in pairs)
