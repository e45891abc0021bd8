"""The environment, read in one place: where things are, and which environment this is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from include.core.errors import ConfigError

PROJECT_ROOT = Path(__file__).resolve().parents[2]

Environment = Literal["dev", "prod"]
Address = Annotated[str, AfterValidator(lambda text: text.rstrip("/"))]
"""A folder or a URL."""

DATA = ("landing_uri", "lakehouse_uri", "mlflow_uri")
"""What every step needs."""


class Settings(BaseSettings):
    """What one installation works with. Each field is one environment variable."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True, env_ignore_empty=True)

    environment: Environment = Field("dev", validation_alias="FLIGHTLINE_ENV")
    """Decides, with model.yaml, who approves a promotion."""
    landing_uri: Address = Field("", validation_alias="FLIGHTLINE_LANDING_URI")
    """Folder (or fsspec URL) below which the outside systems deliver files."""
    lakehouse_uri: Address = Field("", validation_alias="FLIGHTLINE_LAKEHOUSE_URI")
    """Folder (or object-store URL) below which all Delta tables live."""
    mlflow_uri: Address = Field("", validation_alias="MLFLOW_TRACKING_URI")
    """Tracking and registry server of MLflow."""
    feast_registry: str = Field("", validation_alias="FLIGHTLINE_FEAST_REGISTRY")
    """SQLAlchemy URL of Feast's registry."""
    feast_online_store: str = Field("", validation_alias="FLIGHTLINE_FEAST_ONLINE_STORE")
    """``postgresql://…`` or ``redis://…``."""
    models_folder: Path = Field(PROJECT_ROOT / "include" / "models", validation_alias="FLIGHTLINE_MODELS")
    """Where the models' folders are."""

    @classmethod
    def load(cls, *, need: tuple[str, ...] = DATA, **given: Any) -> Self:
        """Read the environment.

        Args:
            need: fields that have to be set.
            given: values that stand instead of the environment's.

        Raises:
            ConfigError: naming the variable that is missing or has a value it cannot have.
        """
        try:
            settings = cls(**given)
        except ValidationError as error:
            problem = error.errors()[0]
            raise ConfigError(
                f"environment variable {problem['loc'][0]} is {problem['input']!r}: {problem['msg']}", fix="Correct it"
            ) from None
        for field in need:
            if not getattr(settings, field):
                raise ConfigError(
                    f"environment variable {cls.model_fields[field].validation_alias} is not set",
                    fix="Run `make up`, then `. var/env`; or set it yourself",
                )
        return settings


def secret(variable: str) -> str:
    """A secret: the value of a variable, or the content of the file that ``<variable>_FILE`` names; empty without."""
    file = os.environ.get(f"{variable}_FILE")
    return Path(file).read_text(encoding="utf-8").strip() if file else os.environ.get(variable, "")
