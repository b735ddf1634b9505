"""Endpoints: their instances, the traffic to them, their metrics, and what brings them back after a restart."""

from __future__ import annotations

from .engine import HostingEngine

__all__ = ["HostingEngine"]
