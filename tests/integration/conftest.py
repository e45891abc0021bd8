from tests.unit.features.conftest import feast_environment, lake, make_spec, put_clean, spec

__all__ = ["feast_environment", "lake", "make_spec", "put_clean", "spec"]
