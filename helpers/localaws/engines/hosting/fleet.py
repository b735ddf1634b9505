"""A fleet: the instances of one deployment of an endpoint, by variant, and the traffic between the variants."""

from __future__ import annotations

import random
import shutil
from collections.abc import Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..container import cores
from ..utilisation import endpoint_instance
from . import model_archive
from .instance import Instance, InstanceFailed, Recipe
from .metrics import InvocationMetrics, Reporter
from .model_archive import ArchiveError
from .variant import Variant

if TYPE_CHECKING:
    from ...cloud import Cloud

STARTUP_SECONDS = 480.0
Plan = dict[str, Any]


class EndpointFailed(Exception):
    """The endpoint cannot be brought into service as it should be; the message is its FailureReason."""


class Fleet:
    """What runs for one deployment. ``plans`` are an endpoint record's ``Variants``, ``folder`` is the endpoint's."""

    def __init__(
        self, cloud: Cloud, region: str, endpoint: str, folder: Path, deployment: str, plans: list[Plan]
    ) -> None:
        self._cloud, self._region, self._endpoint = cloud, region, endpoint
        self._instances, self._models = folder / "instances", folder / "models" / deployment
        self._plans = {str(plan["VariantName"]): plan for plan in plans}
        self._weights = {name: float(plan["DesiredWeight"]) for name, plan in self._plans.items()}
        self.variants = {name: self._variant(plan) for name, plan in self._plans.items()}
        metrics = [variant.metrics for variant in self.variants.values()]
        self._reporter = Reporter(cloud.clock, metrics, self._publish_concurrency)

    def start(self) -> None:
        """Start all instances, at the same time; raises :class:`EndpointFailed` as soon as one of them cannot."""
        try:
            self._fetch_models()
        except (ArchiveError, OSError) as error:
            raise EndpointFailed(str(error)) from error
        self._start_instances()

    def take_traffic(self) -> None:
        """Publish metrics from now on: before, an idle instance would count as one without load."""
        self._reporter.start()

    def choose(self, target: str | None) -> Variant:
        """The variant for one request: the target, or one by weight. Raises ``KeyError`` for an unknown target."""
        if target is not None:
            return self.variants[target]
        weights = self._weights
        names = list(weights)
        return self.variants[random.choices(names, [weights[name] for name in names])[0]]

    def weigh(self, weights: Mapping[str, float]) -> None:
        """Divide the traffic anew; variants that are not named keep their weights."""
        self._weights = {**self._weights, **weights}

    def resize(self, counts: Mapping[str, int], grace: float) -> None:
        """Have so many instances of these variants; raises :class:`EndpointFailed` where one does not start."""
        for name, count in counts.items():
            try:
                self.variants[name].resize(count, grace)
            except (InstanceFailed, OSError) as error:
                raise EndpointFailed(_failure_reason(name, error)) from error

    def drain(self, grace: float) -> None:
        """Give no instance another request, let all finish those they have, and stop them; forget the models."""
        with ThreadPoolExecutor(len(self.variants)) as pool:
            list(pool.map(lambda variant: variant.resize(0, grace), self.variants.values()))
        self.stop(grace)
        shutil.rmtree(self._models, ignore_errors=True)

    def stop(self, grace: float) -> None:
        """SIGTERM to all instances, SIGKILL ``grace`` seconds later; returns when no process is left."""
        with ThreadPoolExecutor(len(self.variants)) as pool:
            list(pool.map(lambda variant: variant.stop(grace), self.variants.values()))
        self._reporter.stop()

    # ---- starting ----

    def _fetch_models(self) -> None:
        for plan in self._plans.values():
            archive = self._archive(plan)
            # After a restart it is there: as on AWS, the endpoint goes on where the object has been deleted since.
            if archive is not None and not archive.is_dir():
                objects = self._cloud.objects_of(plan["Model"]["ExecutionRoleArn"])
                model_archive.fetch(objects, plan["Model"]["ModelDataUrl"], archive)

    def _start_instances(self) -> None:
        wanted = [variant for name, variant in self.variants.items() for _ in range(self._count(name))]
        with ThreadPoolExecutor(len(wanted)) as pool:
            starting = {pool.submit(variant.add): variant.name for variant in wanted}
            done, _ = wait(starting, return_when=FIRST_EXCEPTION)
            failed = next((future for future in done if future.exception()), None)
            if failed is not None:
                self.stop(0)
        if failed is not None:
            raise EndpointFailed(_failure_reason(starting[failed], _error_of(failed)))

    def _count(self, variant: str) -> int:
        return int(self._plans[variant]["DesiredInstanceCount"])

    def _variant(self, plan: Plan) -> Variant:
        cloud, recipe = self._cloud, self._recipe(plan)
        metrics = InvocationMetrics(cloud.monitoring, self._region, self._endpoint, plan["VariantName"])
        strategy = plan.get("RoutingConfig", {}).get("RoutingStrategy", "")

        def make() -> Instance:
            instance = Instance(cloud, recipe)
            folder = recipe.folder / instance.id
            cloud.utilisation.watch(endpoint_instance(self._region, self._endpoint, recipe.variant, folder, plan))
            return instance

        return Variant(plan["VariantName"], cloud.clock, make, metrics, strategy)

    def _recipe(self, plan: Plan) -> Recipe:
        instances = sum(int(other["DesiredInstanceCount"]) for other in self._plans.values())
        return Recipe(
            region=self._region,
            endpoint=self._endpoint,
            variant=plan["VariantName"],
            role=plan["Model"]["ExecutionRoleArn"],
            environment=plan["Model"].get("Environment", {}),
            archive=self._archive(plan),
            folder=self._instances,
            threads=max(1, cores() // max(1, instances)),
            startup_seconds=plan.get("ContainerStartupHealthCheckTimeoutInSeconds", STARTUP_SECONDS),
        )

    def _archive(self, plan: Plan) -> Path | None:
        has_data = bool(plan["Model"].get("ModelDataUrl"))
        return self._models / str(plan["VariantName"]) if has_data else None

    def _publish_concurrency(self) -> None:
        for variant in self.variants.values():
            variant.publish_concurrency()


def _error_of(future: Future[Instance]) -> BaseException:
    error = future.exception()
    assert error is not None
    return error


def _failure_reason(variant: str, error: BaseException) -> str:
    """In AWS's words, and then what AWS leaves to the log."""
    why = str(error) if isinstance(error, InstanceFailed) else f"{type(error).__name__}: {error}"
    return (
        f"The primary container for production variant {variant} did not pass the ping health check. "
        f"Please check CloudWatch logs for this endpoint. ({why})"
    )


__all__ = ["EndpointFailed", "Fleet"]
