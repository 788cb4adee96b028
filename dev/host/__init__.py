"""Runs ``function_app.py`` on this machine the way Azure Functions would."""

from dev.host.functions import CannotStart
from dev.host.host import Host

__all__ = ["CannotStart", "Host"]
