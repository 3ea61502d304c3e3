"""The polite client without a server: limits, pauses, and what may be called again. Time is a number that
tests set.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import requests
from mlflow.exceptions import MlflowException, RestException

from manymodels_spark.errors import TrackingError
from manymodels_spark.tracking import faults
from manymodels_spark.tracking.client import Client, public, server_uri
from manymodels_spark.tracking.faults import LostAnswer
from manymodels_spark.tracking.limits import DATABRICKS, Limits, TokenBucket, is_azureml, limits_of


@dataclass
class Time:
    """A clock that stands still until somebody sleeps."""

    now: float = 1000.0
    slept: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def clock(self) -> float:
        return self.now


def client(time: Time, *, attempts: int = 4, **limits: Any) -> Client:
    uri = "http://user:s3cret@tracking.example:5000"
    return Client(
        None,
        uri,
        Limits(**limits),
        attempts,
        sleep=time.sleep,
        clock=time.clock,
        share=lambda: 1.0,  # type: ignore[arg-type]
    )


def answers(*outcomes: object) -> Callable[[], object]:
    """A call that raises or returns these, one after the other."""
    left = list(outcomes)

    def create() -> object:
        outcome = left.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return create


def refused(status: int = 429, retry_after: str | None = None) -> Exception:
    response = requests.Response()
    response.status_code = status
    if retry_after:
        response.headers["Retry-After"] = retry_after
    return requests.HTTPError(f"{status} Client Error", response=response)


def plain_answer(status: int) -> MlflowException:
    """What MLflow raises for an answer that is no JSON."""
    return MlflowException(
        f"API request to endpoint /api failed with error code {status} != 200. Response body: ''"
    )


def broken(cause: Exception | None = None) -> MlflowException:
    """What MLflow raises for a broken connection."""
    try:
        try:
            raise cause or requests.ConnectionError(
                "Connection aborted", ConnectionResetError(104, "reset by peer")
            )
        except Exception as error:
            raise MlflowException(f"API request to http://x/api failed with exception {error}")  # noqa: B904
    except MlflowException as wrapped:
        return wrapped


def never_sent() -> MlflowException:
    from urllib3.exceptions import NewConnectionError

    return broken(NewConnectionError(None, "Connection refused"))  # type: ignore[arg-type]


# --- the token bucket


def test_a_bucket_lets_a_tenth_of_a_second_through_and_then_one_call_at_a_time() -> None:
    time = Time()
    bucket = TokenBucket(20, time.clock)
    assert [bucket.reserve() for _ in range(4)] == [0.0, 0.0, pytest.approx(0.05), pytest.approx(0.10)]


@pytest.mark.parametrize(("rate", "allowed"), [(108.0, 120), (42.0, 47), (6.0, 7)])
def test_in_no_second_do_more_calls_go_out_than_databricks_allows(rate: float, allowed: int) -> None:
    time, sent = Time(), list[float]()
    bucket = TokenBucket(rate, time.clock)
    for number in range(600):
        time.now += 5.0 if number == 200 else 0.0
        time.now += bucket.reserve()
        sent.append(time.now)
    busiest = max(sum(1 for other in sent if moment <= other < moment + 1) for moment in sent)
    assert busiest <= allowed


def test_a_bucket_that_rested_is_full_but_not_fuller() -> None:
    time = Time()
    bucket = TokenBucket(10, time.clock)
    bucket.reserve()
    time.now += 3600
    assert [bucket.reserve(), bucket.reserve()] == [0.0, pytest.approx(0.1)]


def test_each_class_of_calls_has_its_own_bucket_and_others_use_the_default() -> None:
    time = Time()
    polite = client(time, default=10, search=1)
    for kind in ("search", "search", "artifacts", "default"):
        polite.call(answers("ok"), kind=kind)
    assert time.slept == [pytest.approx(1.0), pytest.approx(0.1)]


# --- pauses


def test_retry_after_is_kept_to() -> None:
    time = Time()
    polite = client(time)
    polite.share = lambda: 0.0
    assert polite.call(answers(refused(retry_after="3"), refused(503, "2"), "made")) == "made"
    assert time.slept == [3.0, 2.0]


def test_retry_after_may_be_a_date_and_is_never_followed_for_more_than_two_minutes() -> None:
    now = datetime(2026, 11, 24, 3, 10, 0, tzinfo=UTC)
    assert faults.seconds_of("Tue, 24 Nov 2026 03:10:07 GMT", now) == 7.0
    assert faults.seconds_of("Tue, 24 Nov 2026 03:09:00 GMT", now) == 0.0
    assert faults.seconds_of("86400") == 120.0
    assert [faults.seconds_of(text) for text in (None, "", "soon", "nan")] == [None, None, None, None]


def test_without_retry_after_pauses_double_up_to_half_a_minute() -> None:
    time = Time()
    with pytest.raises(TrackingError, match="status 429"):
        client(time, attempts=10).call(answers(*[plain_answer(429)] * 10))
    assert time.slept == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


def test_pauses_are_spread_over_half_their_length() -> None:
    assert (faults.backoff(3, 0.0), faults.backoff(3, 1.0)) == (1.0, 2.0)


# --- what may be called again


@pytest.mark.parametrize(
    "error", [broken(), never_sent(), plain_answer(503), plain_answer(500), refused(502)]
)
def test_a_call_that_may_be_made_twice_is_repeated_after_a_passing_fault(error: Exception) -> None:
    polite = client(Time())
    assert polite.call(answers(error, "done")) == "done"
    assert polite.calls == {"create": 2}


@pytest.mark.parametrize("error", [plain_answer(429), refused(429), never_sent()])
def test_a_call_that_must_not_be_made_twice_is_repeated_where_it_certainly_did_nothing(
    error: Exception,
) -> None:
    assert client(Time()).call(answers(error, "done"), safe=False) == "done"


@pytest.mark.parametrize(
    "error", [broken(), broken(requests.ReadTimeout("read")), plain_answer(502), refused(500)]
)
def test_a_call_that_must_not_be_made_twice_is_not_repeated_where_nobody_knows(error: Exception) -> None:
    polite = client(Time())
    with pytest.raises(LostAnswer, match="the answer was lost"):
        polite.call(answers(error, "made twice"), safe=False)
    assert polite.total == 1


def test_before_anybody_looks_what_a_lost_call_did_the_server_gets_the_pause_that_it_asks_for() -> None:
    time = Time()
    polite = client(time)
    polite.share = lambda: 0.0
    for error in (refused(503, "30"), broken()):
        with pytest.raises(LostAnswer):
            polite.call(answers(error), safe=False)
    assert time.slept == [30.0, 0.25]


@pytest.mark.parametrize(
    "error",
    [
        RestException(
            {"error_code": "INVALID_PARAMETER_VALUE", "message": "connection timeout must be a number"}
        ),
        RestException({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "No experiment with id 429"}),
        MlflowException("a tag is too long"),
        ValueError("store 429"),
    ],
)
def test_an_answer_that_says_no_is_passed_on_at_once(error: Exception) -> None:
    time = Time()
    with pytest.raises(type(error)) as raised:
        client(time).call(answers(error, "again"))
    assert raised.value is error
    assert time.slept == []


def test_a_locked_database_is_waited_for_by_any_call() -> None:
    locked = MlflowException("(sqlite3.OperationalError) database is locked")
    assert client(Time()).call(answers(locked, "done"), safe=False) == "done"


def test_when_patience_ends_the_error_names_the_server_without_its_password() -> None:
    with pytest.raises(TrackingError) as raised:
        client(Time(), attempts=2).call(answers(broken(), broken()))
    assert "MLflow at http://tracking.example:5000 did not answer" in str(raised.value)
    assert "s3cret" not in str(raised.value)


def test_patience_can_be_shorter_where_nothing_is_lost_yet() -> None:
    time = Time()
    with pytest.raises(TrackingError):
        client(time, attempts=8).call(answers(*[never_sent()] * 8), patience=3)
    assert len(time.slept) == 2


# --- many at once


def test_results_come_in_the_order_of_the_items() -> None:
    assert client(Time(), threads=4).map(lambda number: number * number, range(50)) == [
        n * n for n in range(50)
    ]


def test_the_first_error_ends_the_work_that_has_not_begun() -> None:
    done = list[int]()

    def work(number: int) -> None:
        done.append(number)
        if number == 3:
            raise TrackingError("gone")

    with pytest.raises(TrackingError, match="gone"):
        client(Time(), threads=1).map(work, range(10_000))
    assert done == [0, 1, 2, 3]
    done.clear()
    with pytest.raises(TrackingError, match="gone"):
        client(Time(), threads=2).map(work, range(10_000))
    assert 3 in done and len(done) < 10


# --- which server it is


def test_the_limits_follow_from_the_address() -> None:
    assert limits_of("databricks://prod") == DATABRICKS
    assert (DATABRICKS.page, DATABRICKS.verify) == (50, True)
    assert limits_of("http://127.0.0.1:5000").page == 1000
    assert limits_of("sqlite:///dev.db").threads == 1


def test_an_azure_ml_workspace_is_called_over_https() -> None:
    uri = "azureml://westeurope.api.azureml.ms/mlflow/v1.0/subscriptions/s/resourceGroups/g/workspaces/w"
    assert server_uri(uri) == uri.replace("azureml://", "https://")
    assert is_azureml(uri) and is_azureml(server_uri(uri)) and not is_azureml("https://mlflow.example")


def test_a_uri_is_shown_without_its_credentials() -> None:
    assert public("postgresql://me:pw@db/x") == "postgresql://db/x"
    assert public("sqlite:///dev.db") == "sqlite:///dev.db"


def test_an_sqlite_store_writes_ahead_and_no_other_file_appears(tmp_path: Path) -> None:
    import sqlite3

    for query in ("", "?timeout=30"):
        Client.connect(f"sqlite:///{tmp_path}/dev.db{query}")
    with sqlite3.connect(tmp_path / "dev.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert {path.name.removesuffix("-wal").removesuffix("-shm") for path in tmp_path.iterdir()} == {"dev.db"}


def test_each_server_is_called_with_the_user_and_password_of_its_own_address_and_no_message_shows_them() -> (
    None
):
    seen: list[str | None] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers.get("Authorization"))
            self.send_response(404)
            self.end_headers()
            self.wfile.write(b'{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "none"}')

        def log_message(self, *args: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        for user in ("dev:one", "prod:s3cret%21"):
            polite = Client.connect(f"http://{user}@127.0.0.1:{server.server_port}")
            assert polite.call(polite.mlflow.get_experiment_by_name, "sales") is None
            assert public(polite.uri) == f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
    assert seen == [f"Basic {b64encode(text).decode()}" for text in (b"dev:one", b"prod:s3cret!")]
