from tests.unit.monitoring.scene import scene
from tests.unit.training.stage import mlflow_store

__all__ = ["mlflow_store", "scene"]
