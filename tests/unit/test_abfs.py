"""Addresses of artifacts at abfs://, as MLflow's client for blobs takes them."""

from __future__ import annotations

import pytest

from manymodels_spark.errors import TrackingError
from manymodels_spark.tracking.abfs import as_blobs


@pytest.mark.parametrize(
    ("address", "blobs"),
    [
        ("abfs://models@account.dfs.core.windows.net/a/b", "wasbs://models@account.blob.core.windows.net/a/b"),
        ("abfs://models@account.dfs.core.windows.net", "wasbs://models@account.blob.core.windows.net"),
        ("abfs://m@one.dfs.core.chinacloudapi.cn/x%20y", "wasbs://m@one.blob.core.chinacloudapi.cn/x%20y"),
    ],
)
def test_an_address_names_the_same_files_in_the_blob_service(address: str, blobs: str) -> None:
    assert as_blobs(address) == blobs


@pytest.mark.parametrize("address", ["abfs://account.dfs.core.windows.net/a", "abfs://models@account/a", "abfss://m@a.dfs.core.windows.net"])
def test_an_address_of_another_form_is_told_with_the_right_one(address: str) -> None:
    with pytest.raises(TrackingError, match="abfs://CONTAINER@ACCOUNT"):
        as_blobs(address)
