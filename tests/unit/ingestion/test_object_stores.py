"""A delivery on S3 and on Google Cloud Storage: real servers that speak their protocols, on this machine."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module

import fsspec
import pytest
from gcp_storage_emulator.server import create_server
from moto.server import ThreadedMotoServer

from include.core.errors import ConfigError
from include.core.settings import Settings
from include.core.spec import ModelSpec
from include.ingestion.batch import BatchCounts
from include.ingestion.delivery import Delivery
from include.lakehouse.run import Run
from tests.unit.ingestion.cases import DAY, Rows, as_csv, in_chunks, ingest

pytestmark = pytest.mark.slow


@contextmanager
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    url = f"s3://landing-{port}"  # the server forgets nothing within a process
    try:
        fsspec.filesystem("s3", skip_instance_cache=True).mkdir(url)
        yield url
    finally:
        server.stop()


@contextmanager
def gs(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = create_server("127.0.0.1", 0, in_memory=True, default_bucket="landing")
    server.start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server._api._httpd.server_port}")
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # it asks by gRPC, which the server has not
    monkeypatch.setitem(fsspec.config.conf, "gs", {"token": "anon"})
    try:
        yield "gs://landing"
    finally:
        server.stop()


@pytest.fixture(params=[s3, gs], ids=["s3", "gs"])
def bucket(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    open_store: Callable[[pytest.MonkeyPatch], Iterator[str]] = request.param
    with open_store(monkeypatch) as url:
        kind = fsspec.get_filesystem_class(url.partition(":")[0])
        kind.clear_instance_cache()
        yield url
        kind.clear_instance_cache()


@pytest.mark.parametrize("chunked", [False, True])
def test_delivery_is_seen_read_and_replaced(
    run: Run,
    bucket: str,
    good_rows: Rows,
    chunked: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if chunked:
        in_chunks(monkeypatch)
    run = replace(run, settings=run.settings.model_copy(update={"landing_uri": bucket}))
    delivery = Delivery.expected(run.settings, run.spec, "batches", DAY)
    assert not delivery.is_complete()
    delivery.write("california_housing.csv", as_csv(good_rows))
    assert delivery.is_complete()
    verdict, counts = ingest(run)
    assert (verdict.outcome, counts) == ("accept_batch", BatchCounts(40, 40, 0))
    delivery.write("california_housing.csv", as_csv(good_rows[:31]))
    assert ingest(run)[1] == BatchCounts(30, 30, 0)
    delivery.write("california_housing.csv", as_csv(good_rows)[:-60])
    assert ingest(run)[0].batch_reasons == ("malformed_csv",)


@pytest.mark.parametrize(("scheme", "package"), [("abfss", "adlfs"), ("gs", "gcsfs"), ("s3", "s3fs")])
def test_a_missing_package_is_named(
    spec: ModelSpec, monkeypatch: pytest.MonkeyPatch, scheme: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # what Python itself takes for "not there"
    registry = import_module("fsspec.registry")
    monkeypatch.delitem(registry._registry, scheme, raising=False)
    if scheme == "abfss":  # the package itself tells fsspec of this name
        monkeypatch.delitem(registry.known_implementations, scheme)
    delivery = Delivery.expected(Settings(landing_uri=f"{scheme}://landing"), spec, "batches", DAY)
    with pytest.raises(ConfigError) as error:
        delivery.is_complete()
    assert str(error.value) == (
        f"{delivery.folder}: addresses of {scheme}:// need the package {package}, which is not installed. "
        f"Install it where Airflow runs: pip install {package}"
    )


def test_an_address_of_no_kind_is_refused(spec: ModelSpec) -> None:
    delivery = Delivery.expected(Settings(landing_uri="s4://landing"), spec, "batches", DAY)
    with pytest.raises(
        ConfigError, match=r"^s4://landing/.*Protocol not known: s4\. FLIGHTLINE_LANDING_URI is a folder"
    ):
        delivery.is_complete()
