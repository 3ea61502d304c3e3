"""Kills of the endpoint, at its start and while it takes over new champions: the part of
`bench-faults --everywhere` that needs a process of its own.

The endpoint is the one that users start, with a disk tier and a time-to-live of a second, and is asked for
all partitions the whole time. SIGKILL comes some time after a promotion, so at any moment of the swap, and
some time into the next start. What counts: before the kill every answer is of the former champion or the new
one; after the restart every partition is answered, and soon by the champion that MLflow names.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import yaml

from benchmarks.serve import _free_port
from manymodels_spark.spec.model import Spec

TTL = 1.0
READY_SECONDS, FRESH_SECONDS = 60.0, 20.0
# A start takes a few seconds, a swap of all models less.
LATEST_IN_START, LATEST_IN_SWAP = 4.0, 2.5


class Endpoint:
    """`manymodels serve` over the champions of a spec, which dies and comes back."""

    def __init__(self, spec: Spec, folder: Path, partitions: Sequence[Mapping[str, object]]) -> None:
        self._folder, self._partitions, self._port = folder, partitions, _free_port()
        raw = spec.model_dump(mode="json", exclude_unset=True)
        raw["candidates"] = [{one.family: one.options} for one in spec.candidates]
        (folder / "serve.yaml").write_text(yaml.safe_dump(raw))
        self._process: subprocess.Popen[bytes] | None = None
        self.kills: Counter[str] = Counter()
        self._seen: set[tuple[str, str]] = set()
        self._unanswered = 0
        self._random = random.Random(7)

    def start(self) -> None:
        """Start it and wait until it is ready. Raises RuntimeError with its log where it is not."""
        self._spawn()
        end = time.monotonic() + READY_SECONDS
        while time.monotonic() < end:
            if self._ready():
                return
            time.sleep(0.1)
        raise RuntimeError((self._folder / "serve.log").read_text()[-2000:])

    @contextmanager
    def killed_in_swap(self) -> Iterator[None]:
        """Asked all the time while the block promotes, and killed at some moment after it."""
        stop, self._seen, self._unanswered = threading.Event(), set(), 0
        asking = threading.Thread(target=self._keep_asking, args=(stop,))
        asking.start()
        try:
            yield
            time.sleep(self._random.uniform(0, LATEST_IN_SWAP))
        finally:
            self.stop()
            stop.set()
            asking.join()
        self.kills["serve_swap"] += 1

    def wrong_before(self, champions: Collection[tuple[str, str]]) -> Counter[str]:
        """Answers of the last swap by models that never were champions, and partitions without an answer.

        Args:
            champions: Partition id and model id of all that are champions or were.

        """
        return Counter(lost=self._unanswered, champions=len(self._seen - set(champions)))

    def killed_at_start(self) -> None:
        """Started, and killed before or soon after it is ready."""
        self._spawn()
        time.sleep(self._random.uniform(0.2, LATEST_IN_START))
        self.stop()
        self.kills["serve_start"] += 1

    def wrong_after(self, champions: Mapping[str, str]) -> Counter[str]:
        """What is not answered, or not by the champion of its partition, once the time-to-live has passed."""
        end = time.monotonic() + FRESH_SECONDS
        while True:
            answers = self._ask_all()
            lost = champions.keys() - answers.keys()
            stale = {one for one, model in answers.items() if champions.get(one) != model}
            if not (lost or stale) or time.monotonic() > end:
                return Counter(lost=len(lost), champions=len(stale))
            time.sleep(0.2)

    def stop(self) -> None:
        """SIGKILL, as a machine that loses its power."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _spawn(self) -> None:
        settings = {"TTL": str(TTL), "DISK": str(self._folder / "disk"), "RETRY_AFTER": "1"}
        environment = {
            **os.environ,
            **{f"MANYMODELS_SERVE_{name}": value for name, value in settings.items()},
        }
        command = [sys.executable, "-m", "manymodels_spark.cli", "serve", str(self._folder / "serve.yaml")]
        with (self._folder / "serve.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--port", str(self._port)], env=environment, stdout=subprocess.DEVNULL, stderr=log
            )

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/readyz", timeout=2):
                return True
        except OSError:
            return False

    def _keep_asking(self, stop: threading.Event) -> None:
        while not stop.is_set():
            with suppress(OSError, http.client.HTTPException):  # it is killed
                answers = self._ask_all()
                self._seen.update(answers.items())
                self._unanswered += len(self._partitions) - len(answers)
            time.sleep(0.02)

    def _ask_all(self) -> dict[str, str]:
        """The model that answers by partition id; partitions that are not answered are missing."""
        body = json.dumps({"items": [{"partition": dict(one)} for one in self._partitions]}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._port}/v1/score", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=15) as answer:
            results = json.loads(answer.read())["results"]
        return {one["partition_id"]: one["model_id"] for one in results if one["status"] == 200}
