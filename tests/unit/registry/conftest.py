from tests.unit.registry.failing_mlflow import proxy
from tests.unit.training.stage import mlflow_store, scene

__all__ = ["mlflow_store", "proxy", "scene"]
