"""Whatever goes wrong, one sentence says what, and what to do."""

from __future__ import annotations

import errno

import pytest

from dev.failures import explain, explain_os_error

PIP = {
    "no network": (
        (
            "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError(': "
            "Failed to establish a new connection: [Errno -2] Name or service not known')'\n"
            "ERROR: No matching distribution found for azure-core==1.41.0"
        ),
        "The network does not reach the Python package index",
    ),
    "no network, our own download": (
        (
            "No matching distribution found\n<urlopen error [Errno -3] Temporary failure in name "
            "resolution>"
        ),
        "The network does not reach the Python package index",
    ),
    "proxy": (
        (
            "after connection broken by 'ProxyError('Cannot connect to proxy.', OSError('Tunnel "
            "connection failed: 407 Proxy Authentication Required'))'\n"
            "ERROR: No matching distribution found"
        ),
        "A proxy refused the way to the Python package index: check HTTPS_PROXY",
    ),
    "certificate": (
        "SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]'))': /simple/pip/",
        "give pip that proxy's certificate (`pip config set global.cert FILE`",
    ),
    "hash": (
        "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.",
        "is not the one that the lock file names",
    ),
    "disk": (
        "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
        "The disk is full",
    ),
    "credentials": ("ERROR: HTTP error 403 while getting https://index", "check the credentials"),
    "an incomplete mirror": (
        (
            "ERROR: Could not find a version that satisfies the requirement x\n"
            "ERROR: No matching distribution found for x"
        ),
        "lacks a package that the lock file names",
    ),
}
NPM = {
    "no network": ("npm error code ENOTFOUND\nnpm error network request", "does not reach the npm"),
    "refused": (
        "npm error code ECONNREFUSED\nnpm error FetchError: request failed",
        "does not reach the npm registry: check the connection, or tell npm of your proxy",
    ),
    "hash": ("npm error code EINTEGRITY\nnpm error Integrity checksum failed", "was not installed"),
    "certificate": ("npm error code SELF_SIGNED_CERT_IN_CHAIN", "`npm config set cafile FILE`"),
    "disk": ("npm error code ENOSPC", "The disk is full"),
    "credentials": ("npm error code E401", "check the credentials in npm's settings"),
    "not there": ("npm error code E404", "lacks a package"),
    "lock file": (
        (
            "npm error `npm ci` can only install packages when your package.json and "
            "package-lock.json or npm-shrinkwrap.json are in sync."
        ),
        "do not fit together",
    ),
}


@pytest.mark.parametrize(("log", "sentence"), PIP.values(), ids=PIP)
def test_a_failure_of_pip_is_told_in_a_sentence(log: str, sentence: str) -> None:
    assert sentence in explain("pip", log)


@pytest.mark.parametrize(("log", "sentence"), NPM.values(), ids=NPM)
def test_a_failure_of_npm_is_told_in_a_sentence(log: str, sentence: str) -> None:
    assert sentence in explain("npm", log)


def test_what_nobody_knows_is_not_guessed_at() -> None:
    assert explain("pip", "ValueError: 17") == ""


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "The disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", ".venv"), ".venv may not be written"),
        (OSError(errno.EIO, "Input/output error", ".venv"), "Input/output error (.venv): put it"),
    ],
)
def test_what_the_system_refuses_is_told_in_a_sentence(error: OSError, sentence: str) -> None:
    assert explain_os_error(error).startswith(sentence)
