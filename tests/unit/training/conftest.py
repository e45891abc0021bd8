from tests.unit.training.stage import mlflow_store, scene

__all__ = ["mlflow_store", "scene"]
