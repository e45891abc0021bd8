"""A delivery on S3: a real server that speaks its protocol, on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import fsspec
import pytest
import s3fs
from moto.server import ThreadedMotoServer

from include.ingestion import batch
from include.ingestion.delivery import Delivery
from include.lakehouse.tables import Lakehouse
from include.models.spec import ModelSpec
from include.places import Places
from tests.unit.ingestion.cases import Rows, as_csv, in_chunks

DAY = date(2025, 1, 2)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    s3fs.S3FileSystem.clear_instance_cache()
    name = f"landing-{port}"  # the server forgets nothing within a process
    fsspec.filesystem("s3").mkdir(name)
    yield f"s3://{name}"
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


@pytest.mark.parametrize("chunked", [False, True])
def test_delivery_on_s3_is_seen_read_and_replaced(
    spec: ModelSpec,
    lake: Lakehouse,
    places: Places,
    bucket: str,
    good_rows: Rows,
    chunked: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if chunked:
        in_chunks(monkeypatch)
    there = Places("dev", bucket, places.lakehouse_uri, "unused")
    delivery = Delivery.expected(there, spec, "batches", DAY)
    assert not delivery.is_complete()
    delivery.write("california_housing.csv", as_csv(good_rows))
    assert delivery.is_complete()
    assert batch.validate(spec, lake, delivery).outcome == "accept_batch"
    assert batch.load(spec, lake, DAY) == batch.BatchCounts(40, 40, 0)
    delivery.write("california_housing.csv", as_csv(good_rows[:31]))
    batch.validate(spec, lake, delivery)
    assert batch.load(spec, lake, DAY) == batch.BatchCounts(30, 30, 0)
    delivery.write("california_housing.csv", as_csv(good_rows)[:-60])
    assert batch.validate(spec, lake, delivery).batch_reasons == ("malformed_csv",)
