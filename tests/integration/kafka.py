"""A Kafka broker of one node on loopback ports (KRaft, no ZooKeeper), from the jars of `kafka_broker.txt`.

Maven's jars are all there is to install. `python -m tests.integration.kafka` (in test_services.sh) or the
first test fetches them, into `kafka` below the folder of Spark's jars.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from manymodels_spark.spark.jars import fetched, jars_folder

CLUSTER = "4L6g3nShT-eMCtK--X86sw"
START_SECONDS = 120
PROPERTIES = """
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
log.dirs={folder}/data
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
"""


@dataclass
class Broker:
    """A running broker."""

    process: subprocess.Popen[bytes]
    folder: Path
    port: int

    @property
    def servers(self) -> str:
        """What clients connect to."""
        return f"127.0.0.1:{self.port}"

    def create(self, topic: str, partitions: int = 2) -> None:
        """Create an empty topic."""
        from kafka import KafkaAdminClient
        from kafka.admin import NewTopic

        admin = KafkaAdminClient(bootstrap_servers=self.servers)
        admin.create_topics([NewTopic(topic, partitions, 1)])
        admin.close()

    def send(self, topic: str, messages: Iterable[bytes]) -> None:
        """Send messages, and return when the broker has all of them."""
        from kafka import KafkaProducer

        producer = KafkaProducer(bootstrap_servers=self.servers)
        for sent in [producer.send(topic, message) for message in messages]:
            sent.get(30)
        producer.close()

    def stop(self) -> None:
        """Stop it at once and remove its files."""
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def jars() -> list[Path]:
    """The broker's jars, fetched first where one is missing."""
    names = Path(__file__).with_name("kafka_broker.txt").read_text().split()
    return fetched(jars_folder() / "kafka", names)


def start() -> Broker:
    """Start a broker, and return when it answers. Raises RuntimeError with its output where it does not."""
    from integration.mlflow_server import free_port

    folder, port = Path(tempfile.mkdtemp(prefix="manymodels-kafka-")), free_port()
    settings = folder / "server.properties"
    settings.write_text(PROPERTIES.format(port=port, controller=free_port(), folder=folder))
    java = ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", ":".join(map(str, jars()))]
    format_storage = [*java, "kafka.tools.StorageTool", "format", "-t", CLUSTER, "--standalone"]
    subprocess.run(
        [*format_storage, "-c", str(settings)], check=True, capture_output=True, timeout=START_SECONDS
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*java, "kafka.Kafka", str(settings)], stdout=log, stderr=log)
    broker = Broker(process, folder, port)
    limit = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < limit:
        with suppress(OSError):
            _greet(port)
            return broker
        time.sleep(0.2)
    output = (folder / "log").read_text(errors="replace")[-2000:]
    broker.stop()
    raise RuntimeError(f"the Kafka broker did not start: {output}")


def _greet(port: int) -> None:
    import socket

    with socket.create_connection(("127.0.0.1", port), timeout=2):
        return


if __name__ == "__main__":
    print(f"{len(jars())} jars of the Kafka broker in {jars_folder() / 'kafka'}")
