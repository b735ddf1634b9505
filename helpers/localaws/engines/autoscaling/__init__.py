"""Application Auto Scaling: the control law, what it measures and moves, and the engine that applies it.

:mod:`.law` and :mod:`.simulation` import nothing of the embedded AWS, so that a what-if runs on the same law.
"""
