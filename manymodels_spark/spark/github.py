"""A federated token of GitHub Actions: asked anew each time, since one lives for minutes only.

https://docs.github.com/actions/reference/security/oidc
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from urllib.error import URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

from manymodels_spark.errors import ManyModelsError

AUDIENCE = "api://AzureADTokenExchange"
_SECONDS = 30


def github_assertion(environ: Mapping[str, str]) -> str:
    """A token that Microsoft Entra exchanges for one of its own.

    Args:
        environ: `ACTIONS_ID_TOKEN_REQUEST_URL` and `ACTIONS_ID_TOKEN_REQUEST_TOKEN`, as a job has them.

    Raises:
        ManyModelsError: GitHub gives none; the job needs the permission `id-token: write`.

    """
    address = f"{environ['ACTIONS_ID_TOKEN_REQUEST_URL']}&audience={quote(AUDIENCE, safe='')}"
    headers = {"Authorization": f"Bearer {environ.get('ACTIONS_ID_TOKEN_REQUEST_TOKEN', '')}"}
    try:
        with urlopen(Request(address, headers=headers), timeout=_SECONDS) as answer:
            return str(json.load(answer)["value"])
    except (URLError, KeyError, ValueError) as error:
        raise ManyModelsError(
            f"GitHub gave no token for Azure ({type(error).__name__}). Give the job `permissions: id-token: "
            "write`, and the identity a federated credential for its environment"
        ) from error
