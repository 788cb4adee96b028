"""The real cipher keeps the contract; keys come and go."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.cipher import AesGcmCipher, FixedKeys
from shared.config import SealingKey
from shared.core.model import ProviderName, Sealed, Secret, UserId
from shared.errors import Unsealable
from shared.ports import SealPlace
from tests.adapters.contracts import SEAL_PLACE, CipherContract


def a_key(name: str, byte: int) -> SealingKey:
    return SealingKey(name, Secret(base64.b64encode(bytes([byte]) * 32).decode()))


OLD, NEW, OTHER = a_key("old", 1), a_key("new", 2), a_key("old", 3)


def cipher_of(*keys: SealingKey) -> AesGcmCipher:
    return AesGcmCipher(FixedKeys(keys))


class TestAesGcmCipher(CipherContract):
    @pytest.fixture
    def cipher(self) -> AesGcmCipher:
        return cipher_of(NEW, OLD)

    @pytest.fixture
    def older(self) -> Sealed:
        return cipher_of(OLD).seal(Secret("a token"), SEAL_PLACE)

    @pytest.mark.parametrize("text", ["", "plain", "s1:newer:AAAA", "s2:new:AAAA"])
    def test_what_is_not_clearly_of_the_newest_key_is_stale(
        self, cipher: AesGcmCipher, text: str
    ) -> None:
        assert cipher.stale(Sealed(text))

    def test_every_value_names_its_key(self, cipher: AesGcmCipher) -> None:
        assert cipher.seal(Secret("x"), SEAL_PLACE).text.startswith("s1:new:")

    def test_the_nonce_is_never_the_same(self, cipher: AesGcmCipher) -> None:
        nonces = {packed(cipher.seal(Secret("x"), SEAL_PLACE))[:12] for _ in range(500)}

        assert len(nonces) == 500

    def test_the_newest_key_seals_and_all_of_them_open(self) -> None:
        before = cipher_of(OLD).seal(Secret("x"), SEAL_PLACE)
        rotated = cipher_of(NEW, OLD)

        assert rotated.open(before, SEAL_PLACE) == Secret("x")
        after = rotated.seal(Secret("x"), SEAL_PLACE)
        assert after.text.startswith("s1:new:")
        with pytest.raises(Unsealable):
            cipher_of(OLD).open(after, SEAL_PLACE)

    def test_without_its_key_a_value_does_not_open(self, cipher: AesGcmCipher) -> None:
        sealed = cipher.seal(Secret("x"), SEAL_PLACE)

        with pytest.raises(Unsealable, match="key"):
            cipher_of(OLD).open(sealed, SEAL_PLACE)

    def test_another_key_of_the_same_name_opens_nothing(self) -> None:
        sealed = cipher_of(OLD).seal(Secret("x"), SEAL_PLACE)

        with pytest.raises(Unsealable):
            cipher_of(OTHER).open(sealed, SEAL_PLACE)

    def test_a_changed_byte_is_noticed_wherever_it_is(self, cipher: AesGcmCipher) -> None:
        sealed = cipher.seal(Secret("a token"), SEAL_PLACE)
        whole = packed(sealed)

        for at in range(len(whole)):
            changed = bytes([*whole[:at], whole[at] ^ 1, *whole[at + 1 :]])
            with pytest.raises(Unsealable):
                cipher.open(repacked(sealed, changed), SEAL_PLACE)

    @pytest.mark.parametrize("length", [0, 1, 7, 8, 12, 13, 27])
    def test_a_value_that_was_cut_is_noticed(self, cipher: AesGcmCipher, length: int) -> None:
        sealed = cipher.seal(Secret(""), SEAL_PLACE)

        with pytest.raises(Unsealable):
            cipher.open(repacked(sealed, packed(sealed)[:length]), SEAL_PLACE)

    def test_a_value_under_the_name_of_another_key_is_noticed(self) -> None:
        both = cipher_of(NEW, OLD)
        sealed = both.seal(Secret("x"), SEAL_PLACE)

        with pytest.raises(Unsealable):
            both.open(Sealed(sealed.text.replace(":new:", ":old:")), SEAL_PLACE)

    def test_the_error_quotes_nothing(self, cipher: AesGcmCipher) -> None:
        with pytest.raises(Unsealable) as caught:
            cipher.open(Sealed("s1:new:canary"), SEAL_PLACE)

        assert "canary" not in str(caught.value)

    def test_a_member_may_be_called_anything(self, cipher: AesGcmCipher) -> None:
        place = SealPlace(UserId("a|b/😀"), ProviderName("acme"), "access")

        assert cipher.open(cipher.seal(Secret("x"), place), place) == Secret("x")


@given(st.text(max_size=60))
def test_whatever_is_stored_either_opens_or_is_unsealable(text: str) -> None:
    for stored in (text, f"s1:new:{text}", f"s1:{text}"):
        with pytest.raises(Unsealable):
            cipher_of(NEW).open(Sealed(stored), SEAL_PLACE)


def packed(sealed: Sealed) -> bytes:
    return base64.b64decode(sealed.text.rpartition(":")[2])


def repacked(sealed: Sealed, content: bytes) -> Sealed:
    front = sealed.text.rpartition(":")[0]
    return Sealed(f"{front}:{base64.b64encode(content).decode()}")
