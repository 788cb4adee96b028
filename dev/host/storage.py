"""Finds the storage account that a trigger's ``connection`` names."""

from collections.abc import Mapping

from azure.storage.queue import QueueClient

#: Microsoft publishes this key; every storage emulator in the world has it.
_EMULATOR_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
EMULATOR = (
    f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={_EMULATOR_KEY};"
    "QueueEndpoint=http://127.0.0.1:10001/devstoreaccount1;"
)


def connection_string(name: str, env: Mapping[str, str]) -> str:
    """Return the connection string of ``name``; ValueError names the missing setting."""
    name = name or "AzureWebJobsStorage"
    for setting in (f"AzureWebJobs{name}", name):
        if value := env.get(setting):
            return EMULATOR if value.rstrip(";") == "UseDevelopmentStorage=true" else value
    if any(setting.startswith(f"{name}__") for setting in env):
        raise ValueError(
            f"the setting {name} has to be a connection string here: "
            f"identity-based connections ({name}__...) work in Azure only"
        )
    raise ValueError(f"the setting {name} is missing; a trigger needs it as its connection")


def queue_client(account: str, queue: str) -> QueueClient:
    """Open ``queue``; ValueError if ``account`` is no connection string."""
    # One try per call: the listener has its own way of waiting for storage to come back.
    return QueueClient.from_connection_string(
        account, queue, retry_total=0, connection_timeout=5, read_timeout=30
    )
