"""Who may ask: bearer keys, compared in constant time, and Entra ID tokens, verified with the tenant's public
keys.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

from manymodels_spark.errors import ManyModelsError
from manymodels_spark.serving.failures import ScoreError
from manymodels_spark.serving.settings import ServingSettings

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
        """Return, or raise ScoreError (401) that says no more than it must."""
        if self.open:
            return
        scheme, _, token = (header or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise ScoreError(401, "unauthorized", "a header `Authorization: Bearer KEY` is expected")
        offered = _digest(token.strip())
        if any([hmac.compare_digest(offered, key) for key in self._keys]):
            return
        if self._entra is None or not self._entra.accepts(token.strip()):
            raise ScoreError(401, "unauthorized", "the key or token is not accepted")


class Entra:
    """Tokens of one tenant for one audience; public keys are fetched once an hour, or for a key not seen
    yet.
    """

    def __init__(self, settings: ServingSettings) -> None:
        if not settings.entra_tenant:
            raise ManyModelsError(
                "serving setting entra_tenant is missing beside entra_audience. Give the tenant's id"
            )
        try:
            import jwt
        except ImportError as error:
            raise ManyModelsError("Entra tokens need PyJWT: pip install 'pyjwt[crypto]'") from error
        base = f"https://login.microsoftonline.com/{settings.entra_tenant}"
        self._jwt: Any = jwt
        self._audience = settings.entra_audience
        self._issuer = settings.entra_issuer or f"{base}/v2.0"
        url = settings.entra_keys_url or f"{base}/discovery/v2.0/keys"
        self._client = jwt.PyJWKClient(url, cache_keys=True, lifespan=KEYS_SECONDS, timeout=5)

    def accepts(self, token: str) -> bool:
        """Whether the token is signed by the tenant, for this audience, and in its time."""
        try:
            key = self._client.get_signing_key_from_jwt(token)
            self._jwt.decode(
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
            return False
        return True


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()
