"""Feast imported as it is, with its checks, which takes long."""

from __future__ import annotations

from tests.unit.feast_delta.test_fast_import import run


def test_feast_that_is_there_already_keeps_its_checks():
    said = run("""
        from feast import Field
        print(is_checked(lambda: Field(name=5, dtype="no type")))
        from feast_delta import fast_import
        fast_import.enable()
        from feast import Entity
        print(is_checked(lambda: Entity(name=5)))
    """)
    assert said.split() == ["True", "True"]
