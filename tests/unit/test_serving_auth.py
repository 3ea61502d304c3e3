"""Entra tokens, signed with a key of the test's own, and settings that cannot be used."""

from __future__ import annotations

import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import rsa

from manymodels_spark.cli.serving import serve
from manymodels_spark.errors import ManyModelsError
from manymodels_spark.serving.failures import ScoreError
from manymodels_spark.serving.http.auth import Gate
from manymodels_spark.serving.launch import access_of, from_environment, launch
from manymodels_spark.serving.settings import ServingSettings, require_access_control

ISSUER = "https://login.microsoftonline.com/tenant/v2.0"


@pytest.fixture(scope="module")
def private() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
def gate(private: rsa.RSAPrivateKey, monkeypatch: pytest.MonkeyPatch) -> Gate:
    """A gate for tokens of `tenant` for `api://models`; the tenant's public keys are the test's one."""
    data = {
        **jwt.algorithms.RSAAlgorithm.to_jwk(private.public_key(), as_dict=True),
        "kid": "one",
        "use": "sig",
    }
    monkeypatch.setattr(jwt.PyJWKClient, "fetch_data", lambda self: {"keys": [data]})
    return Gate(ServingSettings(entra_tenant="tenant", entra_audience="api://models"))


def token(key: rsa.RSAPrivateKey, kid: str = "one", **changes: Any) -> str:
    claims = {"aud": "api://models", "iss": ISSUER, "exp": time.time() + 600, **changes}
    return "Bearer " + jwt.encode(claims, key, "RS256", headers={"kid": kid})


def test_a_token_of_the_tenant_for_this_audience_is_let_in(gate, private):
    gate.check(token(private))


@pytest.mark.parametrize(
    "changes",
    [{"aud": "api://other"}, {"iss": "https://evil.example"}, {"exp": time.time() - 3600}, {"kid": "two"}],
)
def test_any_other_token_is_kept_out(gate, private, changes):
    with pytest.raises(ScoreError) as refused:
        gate.check(token(private, **changes))
    assert (refused.value.status, str(refused.value)) == (401, "the key or token is not accepted")


def test_a_token_signed_by_somebody_else_or_by_nobody_is_kept_out(gate):
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    unsigned = "Bearer " + jwt.encode(
        {"aud": "api://models", "iss": ISSUER, "exp": 9e9}, None, "none", headers={"kid": "one"}
    )

    for header in (token(stranger), unsigned, "Bearer x.y.z", "Bearer", "", None):
        with pytest.raises(ScoreError) as refused:
            gate.check(header)
        assert refused.value.status == 401


def test_the_tenant_s_public_keys_are_fetched_once_for_many_tokens_known_and_unknown(private):
    fetched: list[str] = []
    keys = {
        "keys": [
            {
                **jwt.algorithms.RSAAlgorithm.to_jwk(private.public_key(), as_dict=True),
                "kid": "one",
                "use": "sig",
            }
        ]
    }

    class Tenant(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fetched.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(keys).encode())

        def log_message(self, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Tenant) as tenant:
        threading.Thread(target=tenant.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{tenant.server_port}/keys"
        gate = Gate(ServingSettings(entra_tenant="tenant", entra_audience="api://models", entra_keys_url=url))
        for _ in range(10):
            gate.check(token(private))
        for number in range(10):
            with pytest.raises(ScoreError):
                gate.check(token(private, kid=f"made up {number}"))
        tenant.shutdown()

    assert len(fetched) <= 2, "one for the first token, at most one more for a key not seen yet"


def test_keys_that_cannot_be_fetched_are_a_matter_of_patience(private):
    gate = Gate(
        ServingSettings(
            entra_tenant="tenant", entra_audience="api://models", entra_keys_url="http://127.0.0.1:9/keys"
        )
    )

    with pytest.raises(ScoreError) as refused:
        gate.check(token(private))
    assert (refused.value.status, refused.value.code, refused.value.retry_after) == (
        503,
        "keys_unreachable",
        5,
    )


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"entra_audience": "api://models"}, "entra_tenant"),
        ({"entra_tenant": "tenant"}, "entra_audience"),
        ({"entra_tenant": "tenant", "entra_audience": ""}, "entra_audience"),
        ({"entra_tenant": "tenant", "entra_audience": "  "}, "entra_audience"),
        ({"entra_roles": ("Score",)}, "entra_tenant"),
        ({"keys": ()}, "keys"),
        ({"keys": ("good", "")}, "keys"),
        ({"keys": ("  ",)}, "keys"),
        ({"warm": ()}, "warm"),
    ],
)
def test_an_option_that_is_given_and_yields_nothing_is_an_error_at_the_start(given, named):
    with pytest.raises(ManyModelsError, match=named):
        ServingSettings.of_environment(**given)


@pytest.mark.parametrize(
    ("name", "value"),
    [("KEYS", ""), ("KEYS", " \n"), ("KEYS", ","), ("ENTRA_TENANT", "tenant"), ("ENTRA_AUDIENCE", "")],
)
def test_an_environment_variable_that_is_set_and_yields_nothing_is_an_error_at_the_start(
    monkeypatch, name, value
):
    monkeypatch.setenv(f"MANYMODELS_SERVE_{name}", value)
    with pytest.raises(ManyModelsError, match="MANYMODELS_SERVE_"):
        ServingSettings.of_environment()


def test_a_key_file_of_comments_alone_is_an_error_and_the_server_does_not_start(tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("# the keys\n  # come here\n\n")
    spec = str(Path(__file__).parents[2] / "conf" / "retail.yaml")

    ended = CliRunner().invoke(serve, [spec, "--key-file", str(keys), "--models", str(tmp_path)])

    assert isinstance(ended.exception, ManyModelsError)
    assert "holds no line but comments" in str(ended.exception)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.4", "models.example"])
def test_listening_beyond_this_machine_requires_keys_or_entra_or_an_explicit_open(host):
    with pytest.raises(ManyModelsError, match="--open"):
        require_access_control(ServingSettings(), host)
    for allowed in (
        ServingSettings(open=True),
        ServingSettings(keys=("k",)),
        ServingSettings(entra_tenant="t", entra_audience="a"),
    ):
        require_access_control(allowed, host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"])
def test_the_loopback_address_is_open_and_the_log_says_so(host):
    require_access_control(ServingSettings(), host)
    assert (
        access_of(ServingSettings(), host) == "no key or token is required: open to everybody on this machine"
    )
    assert access_of(ServingSettings(open=True), "0.0.0.0").endswith("open to everybody who reaches it")
    assert access_of(ServingSettings(keys=("k",)), "0.0.0.0") == "requests require 1 bearer keys"


def test_another_asgi_server_has_to_say_open_too(monkeypatch, tmp_path):
    monkeypatch.setenv("MANYMODELS_SERVE_SPEC", str(Path(__file__).parents[2] / "conf" / "retail.yaml"))
    monkeypatch.setenv("MANYMODELS_SERVE_MODELS", str(tmp_path))
    with pytest.raises(ManyModelsError, match="MANYMODELS_SERVE_OPEN"):
        from_environment()
    monkeypatch.setenv("MANYMODELS_SERVE_OPEN", "true")
    assert from_environment().state.server.settings.open


@pytest.mark.parametrize(
    ("required", "claims", "admitted"),
    [
        ({"entra_roles": ("Score",)}, {}, False),
        ({"entra_roles": ("Score",)}, {"roles": ["Read"]}, False),
        ({"entra_roles": ("Score",)}, {"roles": "Score"}, False),
        ({"entra_roles": ("Score",)}, {"scp": "Score"}, False),
        ({"entra_roles": ("Score", "Admin")}, {"roles": ["Read", "Admin"]}, True),
        ({"entra_scopes": ("models.score",)}, {"scp": "profile models.score"}, True),
        ({"entra_scopes": ("models.score",)}, {"scp": "models.score.all"}, False),
        ({"entra_scopes": ("models.score",), "entra_roles": ("Score",)}, {"roles": ["Score"]}, True),
        ({"entra_clients": ("app-1",)}, {}, False),
        ({"entra_clients": ("app-1",)}, {"azp": "app-2"}, False),
        ({"entra_clients": ("app-1",)}, {"azp": "app-1"}, True),
        ({"entra_clients": ("app-1",)}, {"appid": "app-1"}, True),
        ({"entra_clients": ("app-1",), "entra_roles": ("Score",)}, {"azp": "app-1"}, False),
        (
            {"entra_clients": ("app-1",), "entra_roles": ("Score",)},
            {"azp": "app-2", "roles": ["Score"]},
            False,
        ),
    ],
)
def test_a_token_needs_a_required_role_or_scope_and_a_known_client(gate, private, required, claims, admitted):
    strict = Gate(ServingSettings(entra_tenant="tenant", entra_audience="api://models", **required))
    if admitted:
        strict.check(token(private, **claims))
        return
    with pytest.raises(ScoreError) as refused:
        strict.check(token(private, **claims))
    assert (refused.value.status, refused.value.code) == (403, "forbidden")


def test_settings_come_from_the_environment_and_arguments_win(monkeypatch):
    monkeypatch.setenv("MANYMODELS_SERVE_CACHE_MB", "64")
    monkeypatch.setenv("MANYMODELS_SERVE_TTL", "9")
    monkeypatch.setenv("MANYMODELS_SERVE_WARM", '{"store": 1, "item": "a"}\nabc\n')

    found = ServingSettings.of_environment(ttl=5.0, rss_mb=None)

    assert (found.cache_mb, found.ttl, found.rss_mb) == (64, 5.0, None)
    assert found.warm == ('{"store": 1, "item": "a"}', "abc")


def test_a_setting_out_of_bounds_is_named_and_keys_are_never_shown(monkeypatch):
    monkeypatch.setenv("MANYMODELS_SERVE_LOADERS", "0")
    with pytest.raises(ManyModelsError, match="MANYMODELS_SERVE_LOADERS"):
        ServingSettings.of_environment()
    monkeypatch.delenv("MANYMODELS_SERVE_LOADERS")
    assert "hidden" not in repr(ServingSettings(keys=("hidden",)))


def test_worker_processes_on_the_loopback_address_start_with_what_was_looked_at(monkeypatch, tmp_path):
    spec, started = str(Path(__file__).parents[2] / "conf" / "retail.yaml"), list[dict[str, Any]]()
    monkeypatch.setattr("os.environ", {**os.environ})
    monkeypatch.setattr("uvicorn.run", lambda app, **options: started.append(options))

    with pytest.raises(ManyModelsError, match="listen on 0.0.0.0"):
        launch(spec, ServingSettings(), host="0.0.0.0", port=1, models=tmp_path)
    assert started == []
    launch(spec, ServingSettings(ttl=7), host="127.0.0.1", port=1, models=tmp_path)

    found = from_environment().state.server.settings
    assert (found.open, found.ttl, started[0]["host"]) == (True, 7, "127.0.0.1")
