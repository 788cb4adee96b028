"""The identity that the app has in Azure."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from azure.identity import ManagedIdentityCredential


@cache
def credential(client_id: str) -> ManagedIdentityCredential:
    """Return the managed identity; an empty ``client_id`` means the system-assigned one.

    Never ``DefaultAzureCredential``: it tries one after the other and may find the wrong one.
    https://learn.microsoft.com/azure/developer/python/sdk/authentication/best-practices
    """
    # Here, because it takes 0.3 s to import, and connection strings need none of it.
    from azure.identity import ManagedIdentityCredential  # noqa: PLC0415

    return ManagedIdentityCredential(client_id=client_id or None)
