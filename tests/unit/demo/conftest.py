from tests.unit.ingestion.conftest import housing, housing_path, lake, places, run, spec

__all__ = ["housing", "housing_path", "lake", "places", "run", "spec"]
