"""The settings of the series: one typed object, from notebook parameters, the environment, and defaults."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

ROOT = Path(__file__).resolve().parents[1]


class SettingsError(ValueError):
    """A setting has a value that cannot be; the message says which, why, and what can."""

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows: the sentence. Where in the helpers it was found out helps nobody to correct it."""
        return [f"{type(self).__name__}: {self}"]


class Settings(BaseSettings):
    """Everything the notebooks let a reader choose. In the environment: ``DOGS_PROJECT``, ``DOGS_TARGET`` and so on."""

    model_config = SettingsConfigDict(env_prefix="DOGS_", frozen=True, extra="forbid", allow_inf_nan=False)

    project: str = Field("dog-breeds", description="Prefix of every name, and value of the tag 'project'.")
    target: Literal["local", "aws"] = Field("local", description="The embedded AWS, or AWS itself.")
    region: str = Field("us-east-1", description="AWS region, such as us-east-1.")
    data: str = Field("", description="URL, zip file or folder with dogImages; empty: the drawn sample set.")
    weights: str = Field("none", description="torchvision state_dict file, 'default' (download) or 'none'.")
    architecture: str = Field(
        "", description="torchvision model or small_cnn; empty: named by the weights file, else small_cnn."
    )
    epochs: NonNegativeInt = Field(0, description="Passes over the training photos; 0: as suits the weights.")
    time_scale: PositiveFloat = Field(
        20.0, description="How many times shorter the embedded AWS's own waiting is than AWS's, where this starts it."
    )
    tuning_trials: int = Field(4, ge=1, le=100, description="Trials of the search for hyperparameters.")
    budget_usd: PositiveFloat = Field(5.0, description="What a run of the series may cost.")
    email: str = Field("", description="Who is told when the account nears the budget; empty: nobody.")
    notebook: bool = Field(True, description="Whether to have a notebook instance.")
    compared: PositiveInt = Field(60, description="Test photos for which function and model must answer the same.")
    pace: PositiveFloat = Field(1.0, description="How many times longer the endpoint's load lasts; 20 suits AWS.")

    training_instance_type: str = Field("ml.c5.2xlarge", description="What training jobs run on.")
    spot_instance_count: int = Field(2, ge=2, le=8, description="Instances of the spot training job.")
    endpoint_instance_type: str = Field("ml.c5.xlarge", description="What the endpoint runs on.")

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        # YAML's yes and Python's True would count as 1.
        if isinstance(value, bool) and info.field_name != "notebook":
            raise ValueError(f"{value} is neither a number nor a text")
        return value

    @field_validator("project")
    @classmethod
    def _project(cls, value: str) -> str:
        # The name starts bucket, role, job and endpoint names: S3 decides on the letters, tuning jobs on the length.
        if not re.fullmatch(r"[a-z][a-z0-9-]{1,12}[a-z0-9]", value):
            raise ValueError("3 to 14 lower-case letters, digits and hyphens, starting with a letter")
        return value

    @field_validator("region")
    @classmethod
    def _region(cls, value: str) -> str:
        if not re.fullmatch(r"[a-z]{2}(-[a-z]+)+-\d", value):
            raise ValueError("an AWS region looks like us-east-1")
        if value not in _regions():
            raise ValueError(f"boto3 knows no such region with SageMaker{_nearest(value, _regions())}")
        return value

    @field_validator("email")
    @classmethod
    def _email(cls, value: str) -> str:
        if value and not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", value):
            raise ValueError("an address looks like name@example.com")
        return value

    @field_validator("data")
    @classmethod
    def _data(cls, value: str) -> str:
        if value and not value.startswith(("https://", "http://")) and not _resolve(value).exists():
            raise ValueError(f"{_resolve(value)} does not exist; give a URL, a zip file, a folder, or nothing")
        return value

    @field_validator("weights")
    @classmethod
    def _weights(cls, value: str) -> str:
        if value not in ("none", "default") and not _resolve(value).is_file():
            raise ValueError(f"{_resolve(value)} does not exist; give a state_dict file, 'default' or 'none'")
        return value

    @classmethod
    def of(cls, **parameters: Any) -> Settings:
        """Settings from a notebook's parameters; ``None`` leaves one as it is. Raises :class:`SettingsError`."""
        given = {name: value for name, value in parameters.items() if value is not None}
        try:
            return cls(**given)
        except ValidationError as error:
            raise SettingsError("; ".join(_told(one, cls.model_fields) for one in error.errors())) from None

    @property
    def tags(self) -> dict[str, str]:
        """What everything that the series creates is tagged with."""
        return {"project": self.project}

    @property
    def single_job_name(self) -> str:
        """Prefix of the names of single-instance training jobs."""
        return f"{self.project}-single"

    @property
    def spot_job_name(self) -> str:
        """Prefix of the names of spot training jobs."""
        return f"{self.project}-spot"

    @property
    def tuning_job_name(self) -> str:
        """Prefix of the names of tuning jobs, and so of their trials'; AWS allows tuning jobs but 32 characters."""
        return f"{self.project[:14].rstrip('-')}-tune"

    @property
    def endpoint_name(self) -> str:
        """The endpoint, its configuration and its model."""
        return self.project

    @property
    def function_name(self) -> str:
        """The Lambda function."""
        return self.project

    @property
    def sagemaker_role_name(self) -> str:
        """The role of training jobs and endpoints."""
        return f"{self.project}-sagemaker"

    @property
    def function_role_name(self) -> str:
        """The role of the Lambda function."""
        return f"{self.project}-lambda"

    @property
    def model_architecture(self) -> str:
        """The torchvision model to train; weights files are named ``<architecture>[-<hash>].pth``, as torchvision's."""
        if self.architecture:
            return self.architecture
        return "mobilenet_v2" if self.weights == "default" else self._of_weights_file() or "small_cnn"

    @property
    def pretrained(self) -> bool:
        """Whether training starts from given weights."""
        return self.weights != "none"

    @property
    def photos_source(self) -> str | Path:
        """Where the photos come from: a URL, a path, or nothing for the drawn set."""
        return self.data if not self.data or "://" in self.data else self.path(self.data)

    @property
    def weights_file(self) -> str:
        """The weights as a path, 'default' or 'none'."""
        return self.weights if self.weights in ("none", "default") else str(self.path(self.weights))

    def path(self, value: str) -> Path:
        """A file or folder of the settings, absolute: relative paths start at the checkout, not at the notebook."""
        return _resolve(value)

    def _of_weights_file(self) -> str:
        return "" if self.weights == "none" else Path(self.weights).stem.split("-")[0]


def _resolve(value: str) -> Path:
    return (ROOT / Path(value).expanduser()).resolve()


@functools.cache
def _regions() -> frozenset[str]:
    import boto3

    session = boto3.Session()
    partitions = session.get_available_partitions()
    return frozenset(region for one in partitions for region in session.get_available_regions("sagemaker", one))


def _told(error: Mapping[str, Any], known: Iterable[str]) -> str:
    """One refused value in words: which, and why."""
    name = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        return f"there is no setting {name!r}{_nearest(name, known)}"
    why = error["msg"].removeprefix("Value error, ")
    return f"{name} = {error['input']!r} cannot be: {why[0].lower()}{why[1:]}"


def _nearest(name: str, known: Iterable[str]) -> str:
    nearest = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""
