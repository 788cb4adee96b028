"""Seal secrets at rest with AES-256-GCM, bound to the row and the field that they belong to."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared.config import SealingKey
from shared.core.keys import escape
from shared.core.model import Sealed, Secret
from shared.errors import Unsealable
from shared.ports import SealPlace

#: NIST SP 800-38D, section 8.2: a random nonce has 96 bits.
NONCE = 12
FORM = "s1"


class KeySource(Protocol):
    """Where sealing keys come from."""

    def newest(self) -> SealingKey:
        """Return the key that seals."""
        ...

    def find(self, key_id: str) -> SealingKey | None:
        """Return the key that a sealed value names, or None."""
        ...


@dataclass(frozen=True, slots=True)
class FixedKeys:
    """Keys from the settings, newest first."""

    keys: Sequence[SealingKey]

    def newest(self) -> SealingKey:
        """Return the first key."""
        return self.keys[0]

    def find(self, key_id: str) -> SealingKey | None:
        """Return the key of this name."""
        return next((key for key in self.keys if key.id == key_id), None)


@dataclass(frozen=True, slots=True)
class AesGcmCipher:
    """Implements ``Cipher``.  A sealed value reads ``s1:key id:base64(nonce + ciphertext)``."""

    keys: KeySource

    def seal(self, secret: Secret, place: SealPlace) -> Sealed:
        """Seal with the newest key."""
        key = self.keys.newest()
        nonce = os.urandom(NONCE)
        sealed = _aes(key).encrypt(nonce, secret.reveal().encode(), _bond(place))
        return Sealed(f"{FORM}:{key.id}:{base64.b64encode(nonce + sealed).decode()}")

    def open(self, sealed: Sealed, place: SealPlace) -> Secret:
        """Open with the key that the value names."""
        form, _, rest = sealed.text.partition(":")
        key_id, _, encoded = rest.partition(":")
        if form != FORM:
            raise Unsealable("this is not a sealed value that this release knows")
        key = self.keys.find(key_id)
        if key is None:
            raise Unsealable("the key of this value is not here")
        try:
            packed = base64.b64decode(encoded, validate=True)
            plain = _aes(key).decrypt(packed[:NONCE], packed[NONCE:], _bond(place))
        except (binascii.Error, ValueError, InvalidTag) as error:
            raise Unsealable("this value was changed, or moved from where it belongs") from error
        return Secret(plain.decode())

    def stale(self, sealed: Sealed) -> bool:
        """Compare the key that the value names with the newest."""
        return not sealed.text.startswith(f"{FORM}:{self.keys.newest().id}:")


def _aes(key: SealingKey) -> AESGCM:
    return AESGCM(base64.b64decode(key.key.reveal()))


def _bond(place: SealPlace) -> bytes:
    return "|".join(escape(part) for part in (place.user, place.provider, place.field)).encode()
