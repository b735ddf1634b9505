"""CloudWatch's metrics and alarms: what is kept (``store``), counted (``statistics``), calculated (``expressions``)."""

from .actions import Action
from .alarms import Alarms
from .metrics import Datapoint, Metrics
from .store import Metric, metric

__all__ = ["Action", "Alarms", "Datapoint", "Metric", "Metrics", "metric"]
