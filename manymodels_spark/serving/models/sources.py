"""Where champions come from: the protocol, and sources over a dict and over a folder for tests and
laptops.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import orjson

from manymodels_spark.errors import ManyModelsError, PayloadError
from manymodels_spark.keys import ID_LENGTH, PartitionKey
from manymodels_spark.modeling.payload import sha256

_ID = re.compile(rf"[a-z2-7]{{{ID_LENGTH}}}")
SUFFIX = ".model"


class SourceDown(ManyModelsError):
    """The champions' source cannot be asked at the moment; nothing is said about the partition."""


class UnknownPartition(ManyModelsError):
    """The source answered, and the partition has no champion."""


@dataclass(frozen=True)
class Champion:
    """One partition's champion as its source knows it. `key` is the canonical partition key, `created` in
    ms.
    """

    partition_id: str
    model_id: str
    sha256: str
    location: str = ""
    key: str | None = None
    family: str = ""
    created: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The fields, as JSON holds them."""
        return asdict(self)

    @property
    def partition(self) -> dict[str, Any]:
        """Column to value as JSON holds them; empty where the key is not known."""
        return (
            {}
            if self.key is None
            else {name: _json(value) for name, value in PartitionKey.parse(self.key).values}
        )


class ChampionSource(Protocol):
    """Finds champions and reads payloads. Called from several threads; every method may raise SourceDown."""

    def find(self, partition_id: str) -> Champion | None:
        """The champion of a partition, None where it has none."""

    def find_many(self, partition_ids: Collection[str]) -> dict[str, Champion]:
        """The champions of many partitions by their ids; those without one are missing. Asks in pages."""

    def partition_ids(self) -> Collection[str]:
        """The ids of all partitions with a champion. Asks in pages."""

    def payload(self, champion: Champion) -> bytes:
        """The champion's payload, not yet verified. Raises PayloadError where it is gone for good."""

    def search(self, text: str, limit: int) -> list[Champion]:
        """Up to `limit` champions whose partition key contains every word of `text` (any, where it is
        empty).
        """

    def ping(self) -> None:
        """Return where the source can be asked."""


def is_partition_id(text: str) -> bool:
    """Whether the text has the form of a partition id; only such text ever reaches a path or a query."""
    return _ID.fullmatch(text) is not None


class MemoryChampions:
    """Champions in a dict, for tests: `put` promotes, `remove` retires, `down` makes every call fail."""

    def __init__(self) -> None:
        self.champions: dict[str, Champion] = {}
        self.payloads: dict[str, bytes] = {}
        self.down = False
        self.finds = 0
        self.bulk_finds = 0
        self.reads = 0

    def put(self, key: PartitionKey, payload: bytes, model_id: str, **facts: Any) -> Champion:
        """Make a payload the champion of a partition."""
        champion = Champion(key.id, model_id, sha256(payload), key=key.canonical, **facts)
        self.payloads[model_id] = payload
        self.champions[key.id] = champion
        return champion

    def remove(self, partition_id: str) -> None:
        """Retire a partition's champion."""
        del self.champions[partition_id]

    def find(self, partition_id: str) -> Champion | None:
        """See ChampionSource."""
        self.ping()
        self.finds += 1
        return self.champions.get(partition_id)

    def find_many(self, partition_ids: Collection[str]) -> dict[str, Champion]:
        """See ChampionSource."""
        self.ping()
        self.bulk_finds += 1
        return {one: self.champions[one] for one in partition_ids if one in self.champions}

    def partition_ids(self) -> Collection[str]:
        """See ChampionSource."""
        self.ping()
        self.bulk_finds += 1
        return list(self.champions)

    def payload(self, champion: Champion) -> bytes:
        """See ChampionSource."""
        self.ping()
        self.reads += 1
        return self.payloads[champion.model_id]

    def search(self, text: str, limit: int) -> list[Champion]:
        """See ChampionSource."""
        self.ping()
        return matching(self.champions.values(), text, limit)

    def ping(self) -> None:
        """See ChampionSource."""
        if self.down:
            raise SourceDown("the champions were made unreachable")


class FolderChampions:
    """Champions in a folder, one file each as `write_model` makes it: a laptop's or a container image's
    source.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, partition_id: str) -> Champion | None:
        """See ChampionSource."""
        self.ping()
        try:
            return read_model(model_path(self.folder, partition_id))[0]
        except FileNotFoundError:
            return None

    def find_many(self, partition_ids: Collection[str]) -> dict[str, Champion]:
        """See ChampionSource. Reads a file each."""
        found = ((one, self.find(one)) for one in partition_ids)
        return {one: champion for one, champion in found if champion is not None}

    def partition_ids(self) -> Collection[str]:
        """See ChampionSource. Reads the names of files."""
        self.ping()
        return [path.name.removesuffix(SUFFIX) for path in self.folder.glob(f"*/*{SUFFIX}")]

    def payload(self, champion: Champion) -> bytes:
        """See ChampionSource."""
        try:
            return read_model(model_path(self.folder, champion.partition_id))[1]
        except FileNotFoundError as error:
            raise PayloadError(
                f"the file of model {champion.model_id} is gone. Promote the model again"
            ) from error

    def search(self, text: str, limit: int) -> list[Champion]:
        """See ChampionSource. Reads every file: for small folders."""
        self.ping()
        return matching(
            (read_model(path)[0] for path in sorted(self.folder.glob(f"*/*{SUFFIX}"))), text, limit
        )

    def ping(self) -> None:
        """See ChampionSource."""
        if not self.folder.is_dir():
            raise SourceDown(f"the champions' folder {self.folder} is not there")


def matching(champions: Iterable[Champion], text: str, limit: int) -> list[Champion]:
    """Up to `limit` champions whose key or id contains every word of the text, whatever its case."""
    words, found = words_of(text), list[Champion]()
    for champion in champions:
        said = f"{label(champion).casefold()}  {champion.partition_id}"
        if all(word in said for word in words):
            found.append(champion)
            if len(found) == limit:
                break
    return found


def words_of(text: str) -> list[str]:
    """What a person looks for, `item=7, store=3`, as words in any order; at most ten."""
    return [word for word in re.split(r"[\s,;]+", text.casefold()) if word][:10]


def label(champion: Champion) -> str:
    """The partition as a person reads it: `item=7  store=3`."""
    return champion.partition_id if champion.key is None else str(PartitionKey.parse(champion.key))


def model_path(folder: Path, partition_id: str) -> Path:
    """The file of a partition; the id's alphabet has no character that leaves the folder."""
    if not is_partition_id(partition_id):
        raise ValueError(f"{partition_id!r} is no partition id")
    return folder / partition_id[:2] / f"{partition_id}{SUFFIX}"


def write_model(path: Path, champion: Champion, payload: bytes) -> int:
    """One line of JSON that says what it is, then the payload; visible whole or not at all. The file's
    size.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    data = orjson.dumps(champion.as_dict()) + b"\n" + payload
    scratch = path.with_name(f".{path.name}.{id(data):x}")
    scratch.write_bytes(data)
    scratch.replace(path)
    return len(data)


def read_model(path: Path) -> tuple[Champion, bytes]:
    """The inverse of `write_model`. Raises PayloadError where the file is damaged, FileNotFoundError."""
    head, mark, payload = path.read_bytes().partition(b"\n")
    try:
        champion = Champion(**orjson.loads(head))
    except (orjson.JSONDecodeError, TypeError) as error:
        raise PayloadError(f"{path.name} does not start with a model's description: it is damaged") from error
    if not mark or champion.partition_id != path.name.removesuffix(SUFFIX):
        raise PayloadError(f"{path.name} holds the model of another partition or none: it is damaged")
    return champion, payload


def _json(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return (
        value.hex()
        if isinstance(value, bytes)
        else value.isoformat()
        if hasattr(value, "isoformat")
        else str(value)
    )
