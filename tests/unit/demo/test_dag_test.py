"""What is said of a call that cannot be, before anything is started."""

from __future__ import annotations

import pytest

from include.demo import dag_test


@pytest.mark.parametrize("conf", ["{", "[1]", "dry_run=false"])
def test_parameters_that_are_no_mapping_are_said(conf: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert dag_test.main(["roll_back_model", "--conf", conf]) == 1
    assert f"dag-test: CONF: {conf!r} is no mapping in JSON. Such as " in capsys.readouterr().err
