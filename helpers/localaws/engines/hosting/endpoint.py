"""A running endpoint: its variants, the traffic between them, and the model data that their instances are made from."""

from __future__ import annotations

import random
import shutil
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..container import cores
from . import model_archive
from .instance import Instance, InstanceFailed, Recipe
from .metrics import InvocationMetrics, Reporter
from .model_archive import ArchiveError
from .variant import Variant

if TYPE_CHECKING:
    from ...cloud import Cloud
    from ...store import Document

STARTUP_SECONDS = 480.0


class EndpointFailed(Exception):
    """The endpoint cannot be brought into service; the message is its FailureReason."""


class Endpoint:
    """What runs for one endpoint. ``document`` is its record in the store, with the ``Variants`` that it deploys."""

    def __init__(self, cloud: Cloud, region: str, document: Document) -> None:
        self.name: str = document["EndpointName"]
        self.accepts = False
        self._cloud, self._region = cloud, region
        self._folder = cloud.workplace("endpoints", region, self.name)
        self._plans: dict[str, dict[str, Any]] = {plan["VariantName"]: plan for plan in document["Variants"]}
        self._weights = {name: float(plan["DesiredWeight"]) for name, plan in self._plans.items()}
        self.variants = {name: self._variant(plan) for name, plan in self._plans.items()}
        metrics = [variant.metrics for variant in self.variants.values()]
        self._reporter = Reporter(cloud.clock, metrics, self._publish_concurrency)

    def start(self) -> None:
        """Start all instances, at the same time; raises :class:`EndpointFailed` as soon as one of them cannot."""
        shutil.rmtree(self._instances_folder, ignore_errors=True)  # of a server that was killed
        self._reporter.start()
        try:
            self._fetch_models()
        except (ArchiveError, OSError) as error:
            self.stop(0)
            raise EndpointFailed(str(error)) from error
        self._start_instances()

    def stop(self, grace: float) -> None:
        """SIGTERM to all instances, SIGKILL ``grace`` seconds later; returns when no process is left."""
        self.accepts = False
        with ThreadPoolExecutor(len(self.variants)) as pool:
            list(pool.map(lambda variant: variant.stop(grace), self.variants.values()))
        self._reporter.stop()

    def forget(self) -> None:
        """Remove the endpoint's folder."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def choose(self, target: str | None) -> Variant:
        """The variant for one request: the target, or one by weight. Raises ``KeyError`` for an unknown target."""
        if target is not None:
            return self.variants[target]
        names = list(self._weights)
        return self.variants[random.choices(names, [self._weights[name] for name in names])[0]]

    # ---- starting ----

    def _fetch_models(self) -> None:
        for plan in self._plans.values():
            archive = self._archive(plan)
            # After a restart it is there: as on AWS, the endpoint goes on where the object has been deleted since.
            if archive is not None and not archive.is_dir():
                model_archive.fetch(self._cloud.objects, plan["Model"]["ModelDataUrl"], archive)

    def _start_instances(self) -> None:
        wanted = [variant for name, variant in self.variants.items() for _ in range(self._count(name))]
        with ThreadPoolExecutor(len(wanted)) as pool:
            starting = {pool.submit(variant.add): variant.name for variant in wanted}
            done, _ = wait(starting, return_when=FIRST_EXCEPTION)
            failed = next((future for future in done if future.exception()), None)
            if failed is not None:
                self.stop(0)
        if failed is not None:
            raise EndpointFailed(_failure_reason(starting[failed], failed))

    def _count(self, variant: str) -> int:
        return int(self._plans[variant]["DesiredInstanceCount"])

    def _variant(self, plan: dict[str, Any]) -> Variant:
        cloud, recipe = self._cloud, self._recipe(plan)
        metrics = InvocationMetrics(cloud.monitoring, self._region, self.name, plan["VariantName"])
        strategy = plan.get("RoutingConfig", {}).get("RoutingStrategy", "")
        return Variant(plan["VariantName"], cloud.clock, lambda: Instance(cloud, recipe), metrics, strategy)

    def _recipe(self, plan: dict[str, Any]) -> Recipe:
        instances = sum(int(other["DesiredInstanceCount"]) for other in self._plans.values())
        return Recipe(
            region=self._region,
            endpoint=self.name,
            variant=plan["VariantName"],
            role=plan["Model"]["ExecutionRoleArn"],
            environment=plan["Model"].get("Environment", {}),
            archive=self._archive(plan),
            folder=self._instances_folder,
            threads=max(1, cores() // max(1, instances)),
            startup_seconds=plan.get("ContainerStartupHealthCheckTimeoutInSeconds", STARTUP_SECONDS),
        )

    def _archive(self, plan: dict[str, Any]) -> Path | None:
        has_data = bool(plan["Model"].get("ModelDataUrl"))
        return self._folder / "models" / plan["VariantName"] if has_data else None

    @property
    def _instances_folder(self) -> Path:
        return self._folder / "instances"

    def _publish_concurrency(self) -> None:
        for variant in self.variants.values():
            variant.publish_concurrency()


def _failure_reason(variant: str, failed: Future[Instance]) -> str:
    """In AWS's words, and then what AWS leaves to the log."""
    error = failed.exception()
    why = str(error) if isinstance(error, InstanceFailed) else f"{type(error).__name__}: {error}"
    return (
        f"The primary container for production variant {variant} did not pass the ping health check. "
        f"Please check CloudWatch logs for this endpoint. ({why})"
    )


__all__ = ["Endpoint", "EndpointFailed"]
