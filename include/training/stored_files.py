"""The files of a model in MLflow: fetched one by one into a folder of ours, each held against its record."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.artifact.models_artifact_repo import REGISTERED_MODEL_META_FILE_NAME

from include.core.errors import DataError
from include.training import manifest
from include.training.manifest import Manifest

Refuse = Callable[[str, str], DataError]
"""From the name of a file and what it is (``changed``, ``missing`` or ``additional``) to the error."""


def fetch(uri: str, recorded: Manifest, scratch: Path, refuse: Refuse) -> Path:
    """Copy a model's files into a new folder below ``scratch``, each as it was recorded.

    Args:
        uri: of a logged model, or of a version.
        scratch: of the caller alone: what lies there afterwards is loaded.

    Raises:
        DataError: that of ``refuse``, for the first file that is another one.
    """
    stored = _Stored(uri)
    found = stored.sizes(recorded)
    for name in sorted({*recorded, *found}):
        if name not in recorded or name not in found or found[name] != recorded[name]["size"]:
            raise refuse(name, "additional" if name not in recorded else "missing" if name not in found else "changed")
    folder = scratch / "model"
    folder.mkdir()
    for name in recorded:
        if manifest.of_file(stored.download(name, folder)) != recorded[name]:
            raise refuse(name, "changed")
    return folder


class _Stored:
    """The files in MLflow's artifact store."""

    def __init__(self, uri: str) -> None:
        self._repository: Any = None
        try:
            self._repository = get_artifact_repository(uri)
        except MlflowException as error:
            if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
                raise

    def sizes(self, expected: Manifest) -> dict[str, int | None]:
        """The size of each file, by path. Of a folder in which none is expected its own name, without a size.

        Where no server stands before the files, MLflow's own ``load_model`` leaves a note among them: no part of them.
        """
        if self._repository is None:
            return {}
        parents = {folder for name in expected for folder in PurePosixPath(name).parents}
        folders = {"" if folder == PurePosixPath() else str(folder) for folder in parents}
        listed = [item for folder in folders for item in self._repository.list_artifacts(folder)]
        ignored = folders | {REGISTERED_MODEL_META_FILE_NAME}
        return {item.path: item.file_size for item in listed if item.path not in ignored}

    def download(self, name: str, folder: Path) -> Path:
        return Path(self._repository.download_artifacts(name, dst_path=str(folder)))
