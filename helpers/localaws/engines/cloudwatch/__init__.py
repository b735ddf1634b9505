"""CloudWatch's metrics and alarms: what is kept (``store``), counted (``statistics``), calculated (``expressions``)."""

from .metrics import Datapoint, Metrics
from .store import Metric, metric

__all__ = ["Datapoint", "Metric", "Metrics", "metric"]
