"""Lambda: functions as processes that speak the Runtime API, one event at a time."""

from .engine import FunctionsEngine

__all__ = ["FunctionsEngine"]
