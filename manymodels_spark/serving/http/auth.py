"""Who may ask: bearer keys, compared in constant time, and Entra ID tokens, verified with the tenant's public
keys.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from typing import Any

from manymodels_spark.errors import ManyModelsError
from manymodels_spark.serving.failures import ScoreError
from manymodels_spark.serving.settings import ServingSettings

log = logging.getLogger(__name__)
ALGORITHMS = ["RS256"]
KEYS_SECONDS = 3600


class Gate:
    """Lets a request through by its Authorization header. Raises ManyModelsError where PyJWT is missing."""

    def __init__(self, settings: ServingSettings) -> None:
        self._keys = [_digest(key.get_secret_value()) for key in settings.keys]
        self._entra = Entra(settings) if settings.entra_audience else None

    @property
    def open(self) -> bool:
        """Whether nothing is asked for."""
        return not self._keys and self._entra is None

    @property
    def waits(self) -> bool:
        """Whether `check` may have to fetch public keys: call it in a thread."""
        return self._entra is not None

    def check(self, header: str | None) -> None:
        """Return, or raise ScoreError (401, 403) that says no more than it must."""
        if self.open:
            return
        scheme, _, token = (header or "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise ScoreError(401, "unauthorized", "a header `Authorization: Bearer KEY` is expected")
        offered = _digest(token.strip())
        if any([hmac.compare_digest(offered, key) for key in self._keys]):
            return
        claims = None if self._entra is None else self._entra.claims(token.strip())
        if self._entra is None or claims is None:
            raise ScoreError(401, "unauthorized", "the key or token is not accepted")
        if not self._entra.permits(claims):
            raise ScoreError(
                403, "forbidden", "the token is valid, but has none of the roles, scopes or clients required"
            )


class Entra:
    """Tokens of one tenant for one audience, with a required role or scope, from required applications.

    Public keys are fetched once an hour, or for a key not seen yet.
    """

    def __init__(self, settings: ServingSettings) -> None:
        try:
            import jwt
        except ImportError as error:
            raise ManyModelsError("Entra tokens need PyJWT: pip install 'pyjwt[crypto]'") from error
        base = f"https://login.microsoftonline.com/{settings.entra_tenant}"
        self._jwt: Any = jwt
        self._audience = settings.entra_audience
        self._issuer = settings.entra_issuer or f"{base}/v2.0"
        self._roles, self._scopes = frozenset(settings.entra_roles), frozenset(settings.entra_scopes)
        self._clients = frozenset(settings.entra_clients)
        url = settings.entra_keys_url or f"{base}/discovery/v2.0/keys"
        self._client = jwt.PyJWKClient(url, cache_keys=True, lifespan=KEYS_SECONDS, timeout=5)
        if not (self._roles or self._scopes or self._clients):
            log.warning(
                "any application of the tenant with a token for the audience may ask: set entra_roles, "
                "entra_scopes or entra_clients"
            )

    def claims(self, token: str) -> dict[str, Any] | None:
        """What a token says; None where it is not the tenant's, not for this audience or out of its time."""
        try:
            key = self._client.get_signing_key_from_jwt(token)
            decoded: dict[str, Any] = self._jwt.decode(
                token,
                key.key,
                algorithms=ALGORITHMS,
                audience=self._audience,
                issuer=self._issuer,
                leeway=60,
                options={"require": ["exp", "aud", "iss"]},
            )
        except self._jwt.exceptions.PyJWKClientConnectionError as error:
            raise ScoreError(
                503, "keys_unreachable", "the token cannot be verified at the moment", 5
            ) from error
        except self._jwt.PyJWTError:
            return None
        return decoded

    def permits(self, claims: dict[str, Any]) -> bool:
        """Whether a token has one of the roles (applications, users) or scopes (on behalf of a user), and
        comes from one of the clients; each only where it is required.
        """
        # Version 2 tokens name their client azp, version 1 tokens appid.
        if self._clients and not self._clients & _texts([claims.get("azp"), claims.get("appid")]):
            return False
        if not (self._roles or self._scopes):
            return True
        scopes = _texts(str(claims.get("scp") or "").split())
        return bool(self._roles & _texts(claims.get("roles")) or self._scopes & scopes)


def _texts(values: Any) -> frozenset[str]:
    """The texts in a claim that should be a list of them."""
    return (
        frozenset(value for value in values if isinstance(value, str))
        if isinstance(values, list)
        else frozenset()
    )


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()
