"""What an environment runs: one version of a function, as it is configured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .names import function_arn


@dataclass(frozen=True)
class Spec:
    """Everything that an environment is made from; an environment of another spec cannot serve."""

    region: str
    account: str
    name: str
    version: str
    runtime: str
    architecture: str
    handler: str
    role: str
    timeout: int
    memory_mb: int
    variables: tuple[tuple[str, str], ...]
    code_sha256: str
    log_group: str

    @classmethod
    def of(cls, configuration: dict[str, Any], region: str, account: str) -> Spec:
        """From a function's configuration, as it is described."""
        return cls(
            region=region,
            account=account,
            name=configuration["FunctionName"],
            version=configuration["Version"],
            runtime=configuration["Runtime"],
            architecture=configuration["Architectures"][0],
            handler=configuration["Handler"],
            role=configuration["Role"],
            timeout=configuration["Timeout"],
            memory_mb=configuration["MemorySize"],
            variables=tuple(sorted(configuration.get("Environment", {}).get("Variables", {}).items())),
            code_sha256=configuration["CodeSha256"],
            log_group=configuration["LoggingConfig"]["LogGroup"],
        )

    @property
    def key(self) -> tuple[str, str, str]:
        """Which pool of environments it belongs to: region, function, version."""
        return self.region, self.name, self.version

    def arn(self, qualifier: str | None = None) -> str:
        """The function's ARN."""
        return function_arn(self.region, self.account, self.name, qualifier)
