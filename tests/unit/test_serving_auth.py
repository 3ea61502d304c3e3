"""Entra tokens, signed with a key of the test's own, and settings that cannot be used."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from manymodels_spark.errors import ManyModelsError
from manymodels_spark.serving.auth import Gate
from manymodels_spark.serving.failures import ScoreError
from manymodels_spark.serving.settings import ServingSettings

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


def test_an_audience_without_a_tenant_is_refused_at_the_start():
    with pytest.raises(ManyModelsError, match="entra_tenant"):
        Gate(ServingSettings(entra_audience="api://models"))


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
    assert "hidden" not in repr(ServingSettings(keys=("hidden",)))
