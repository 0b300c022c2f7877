"""Hypothesis without its deadline: how long an example takes says more about the machine's load than about the code."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("pipelines", deadline=None)
settings.load_profile("pipelines")
