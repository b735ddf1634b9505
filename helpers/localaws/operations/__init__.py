"""What answers a call, a file per service; importing a file registers its operations with the gateway."""

from __future__ import annotations

import importlib
import pkgutil


def load() -> None:
    """Register every operation of this package."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
