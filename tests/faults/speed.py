"""A clock that runs faster than the world's, and the same in every process that is told of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

#: ``factor@since``; ``faster.js`` reads it for the storage emulator.
SPEED = "FAULTS_SPEED"
SCRIPT = Path(__file__).with_name("faster.js")


@dataclass(frozen=True, slots=True)
class Speed:
    """Time runs ``factor`` times as fast since ``since``, in seconds since 1970."""

    factor: float
    since: float

    @classmethod
    def read(cls, text: str) -> Self:
        factor, _, since = text.partition("@")
        return cls(float(factor), float(since))

    @property
    def text(self) -> str:
        return f"{self.factor}@{self.since}"

    def __call__(self) -> datetime:
        real = datetime.now(UTC).timestamp()
        return datetime.fromtimestamp(self.since + (real - self.since) * self.factor, UTC)
