"""A stand-in for a hosted MLflow: answers in the shapes that
Azure Databricks and Azure ML document, and their limits.

Databricks: at most 50 logged models a page, 429 with Retry-After beyond its
rate, experiments named by workspace paths. Azure ML: no logged models (404
ENDPOINT_NOT_FOUND). It keeps what it is told, so that a test can count.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlparse

PAGE = 50
Body = dict[str, Any]


@dataclass
class Hosted:
    """One workspace. `refuse_every` makes each n-th call answer 429."""

    logged_models: bool = True
    refuse_every: int = 0
    experiments: dict[str, str] = field(default_factory=dict)
    models: dict[str, Body] = field(default_factory=dict)
    runs: dict[str, Body] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def answer(self, method: str, path: str, body: Body) -> tuple[int, Body]:
        """Status and JSON of a call."""
        with self.lock:
            name = re.sub(r"/(m-\w+)", "/ID", path.partition("/mlflow/")[2])
            self.calls[f"{method} {name}"] += 1
            if self.refuse_every and self.calls.total() % self.refuse_every == 0:
                return 429, {"error_code": "REQUEST_LIMIT_EXCEEDED", "message": "Too many requests"}
            if name.startswith("logged-models") and not self.logged_models:
                return 404, {
                    "error_code": "ENDPOINT_NOT_FOUND",
                    "message": f"No API found for '{method} {path}'",
                }
            handler = getattr(self, "_" + re.sub(r"\W+", "_", f"{method} {name}").lower(), None)
            return (
                handler(path, body)
                if handler
                else (404, {"error_code": "ENDPOINT_NOT_FOUND", "message": name})
            )

    def _get_experiments_get_by_name(self, path: str, body: Body) -> tuple[int, Body]:
        name = body["experiment_name"]
        if name not in self.experiments:
            return 404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": f"Node {name} does not exist."}
        found = {"experiment_id": self.experiments[name], "name": name, "lifecycle_stage": "active"}
        return 200, {"experiment": {**found, "artifact_location": "dbfs:/databricks/mlflow-tracking/77"}}

    def _post_experiments_create(self, path: str, body: Body) -> tuple[int, Body]:
        if self.logged_models and not body["name"].startswith("/"):
            return 400, {
                "error_code": "INVALID_PARAMETER_VALUE",
                "message": "Experiment name must be an absolute path",
            }
        self.experiments[body["name"]] = "77"
        return 200, {"experiment_id": "77"}

    def _post_runs_create(self, path: str, body: Body) -> tuple[int, Body]:
        number = f"r{len(self.runs):031d}"
        info = {
            "run_id": number,
            "run_uuid": number,
            "experiment_id": body["experiment_id"],
            "status": "RUNNING",
            "start_time": 1795000000000 + len(self.runs),
            "lifecycle_stage": "active",
            "artifact_uri": f"azureml://artifacts/{number}",
            "run_name": body.get("run_name", ""),
        }
        self.runs[number] = {
            "info": info,
            "data": {"tags": body.get("tags", []), "metrics": [], "params": []},
        }
        return 200, {"run": self.runs[number]}

    def _post_runs_search(self, path: str, body: Body) -> tuple[int, Body]:
        return self._page(
            "runs", [run for run in self.runs.values() if _fits(run["data"]["tags"], body)], body, 1000
        )

    def _post_runs_update(self, path: str, body: Body) -> tuple[int, Body]:
        run = self.runs[body["run_id"]]
        run["info"]["status"] = body["status"]
        return 200, {"run_info": run["info"]}

    def _post_runs_log_batch(self, path: str, body: Body) -> tuple[int, Body]:
        run, metrics = self.runs[body["run_id"]], body.get("metrics", [])
        for metric in metrics:
            if "model_id" in metric:
                self.models[metric["model_id"]]["data"].setdefault("metrics", []).append(metric)
            else:
                run["data"]["metrics"].append(metric)
        run["data"]["params"] += body.get("params", [])
        fresh = {tag["key"]: tag for tag in [*run["data"]["tags"], *body.get("tags", [])]}
        run["data"]["tags"] = list(fresh.values())
        return 200, {}

    def _post_logged_models(self, path: str, body: Body) -> tuple[int, Body]:
        number = f"m-{len(self.models):032x}"
        info = {
            "model_id": number,
            "experiment_id": body["experiment_id"],
            "name": body["name"],
            "creation_timestamp_ms": 1795000000000 + len(self.models),
            "last_updated_timestamp_ms": 1795000000000,
            "artifact_uri": f"dbfs:/databricks/mlflow-tracking/77/logged_models/{number}/artifacts",
            "status": "LOGGED_MODEL_PENDING",
            "model_type": body.get("model_type", ""),
            "tags": body.get("tags", []),
        }
        self.models[number] = {"info": info, "data": {"params": body.get("params", [])}}
        return 200, {"model": self.models[number]}

    def _patch_logged_models_id(self, path: str, body: Body) -> tuple[int, Body]:
        model = self.models[path.rpartition("/")[2]]
        model["info"]["status"] = body["status"]
        return 200, {"model": model}

    def _delete_logged_models_id(self, path: str, body: Body) -> tuple[int, Body]:
        del self.models[path.rpartition("/")[2]]
        return 200, {}

    def _post_logged_models_search(self, path: str, body: Body) -> tuple[int, Body]:
        if body.get("max_results", PAGE) > PAGE:
            message = (
                f"Invalid value {body['max_results']} for parameter 'max_results' supplied: must be at "
                f"most {PAGE}"
            )
            return 400, {"error_code": "INVALID_PARAMETER_VALUE", "message": message}
        return self._page(
            "models", [m for m in self.models.values() if _fits(m["info"]["tags"], body)], body, PAGE
        )

    def _page(self, name: str, found: list[Body], body: Body, size: int) -> tuple[int, Body]:
        start, size = int(body.get("page_token") or 0), min(size, int(body.get("max_results", size)))
        page: Body = {name: found[start : start + size]}
        return 200, page | ({"next_page_token": str(start + size)} if start + size < len(found) else {})


@contextmanager
def serve(hosted: Hosted) -> Iterator[str]:
    """The workspace on a loopback port; its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hosted": hosted}))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hosted: Hosted

    def handle_any(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlparse(self.path)
        body = json.loads(sent) if sent else {key: values[0] for key, values in parse_qs(url.query).items()}
        status, answer = self.hosted.answer(self.command, url.path, body)
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        if status == 429:
            self.send_header("Retry-After", "1")
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PATCH = do_DELETE = handle_any

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def _fits(tags: list[Body], body: Body) -> bool:
    """Whether tags fit a filter of the form tags.`key` = 'value' AND ..."""
    wanted = re.findall(r"tags\.`([^`]+)` = '([^']*)'", body.get("filter", ""))
    present = {tag["key"]: tag["value"] for tag in tags}
    return all(present.get(key) == value for key, value in wanted)
