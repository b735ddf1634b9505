"""EC2 instances that run: a folder tree, processes, and a metadata service for each."""

from .engine import InstancesEngine

__all__ = ["InstancesEngine"]
