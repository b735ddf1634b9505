"""Thin functions the notebooks call, one module per AWS concept."""
