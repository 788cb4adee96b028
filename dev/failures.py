"""Turns what pip, npm and the operating system say into one sentence and what to do about it."""

import errno
import re


class LocalError(Exception):
    """Something on this machine is not as it must be; the message says what, and what to do."""


class SetupError(LocalError):
    """The environment cannot be made."""


_NETWORK = (
    "The network does not reach the {registry}: check the connection, or tell {tool} of your proxy "
    "or mirror ({settings}), and run the same command again."
)
_PROXY = (
    "A proxy refused the way to the {registry}: check HTTPS_PROXY and {tool}'s own settings "
    "({settings}), and run the same command again."
)
_CERTIFICATE = (
    "The certificate of the {registry} is not trusted here, as happens behind a company's proxy: "
    "give {tool} that proxy's certificate ({certificate}) and run the same command again."
)
_MISMATCH = (
    "A file from the {registry} is not the one that the lock file names, so it was not installed: "
    "a mirror or proxy changes files, or the lock file was edited by hand. Use another mirror, or "
    "make the lock files anew with `python3 -m dev lock`."
)
_DISK = "The disk is full: make room (about 600 MB are needed) and run the same command again."

_REFUSED = (
    "The {registry} refused to answer (401 or 403): check the credentials in {tool}'s settings "
    "({settings}) and run the same command again."
)
_MISSING = (
    "The {registry} that is configured lacks a package that the lock file names, or has no build "
    "of it for this Python and machine: use a complete mirror ({settings})."
)
_UNEQUAL = (
    "dev/package.json and dev/package-lock.json do not fit together: `python3 -m dev lock` makes "
    "the second from the first."
)
_UNREACHED = (
    r"NewConnectionError|ConnectTimeout|ReadTimeout|NameResolution|name resolution|timed out|"
    r"Name or service not known|nodename nor servname|getaddrinfo failed|Network is unreachable|"
    r"Connection (refused|reset|aborted)|"
    r"ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|ERR_SOCKET_TIMEOUT"
)

#: The first pattern that is found decides, so the more telling ones come first: pip, for example,
#: ends with "No matching distribution" whatever kept it from asking for one.
_PATTERNS = (
    (r"No space left on device|ENOSPC|Disk quota exceeded|not enough space", _DISK),
    (r"DO NOT MATCH THE HASHES|EINTEGRITY|Hashes are required", _MISMATCH),
    (r"CERTIFICATE_VERIFY_FAILED|SSLError|SELF_SIGNED|UNABLE_TO_(GET|VERIFY)", _CERTIFICATE),
    (r"ProxyError|Tunnel connection failed|Proxy Authentication Required|EPROXY", _PROXY),
    (_UNREACHED, _NETWORK),
    (r"\bE40[13]\b|\b(HTTP error|HTTP Error|Client Error:?) 40[13]\b|\b40[13] Client", _REFUSED),
    (r"No matching distribution found|ETARGET|E404|notarget|HTTP Error 404", _MISSING),
    (r"can only install packages when your package\.json and package-lock\.json", _UNEQUAL),
)

_TOOLS = {
    "pip": {
        "registry": "Python package index",
        "settings": "`pip config`, PIP_INDEX_URL, PIP_PROXY",
        "certificate": "`pip config set global.cert FILE`, or PIP_CERT",
    },
    "npm": {
        "registry": "npm registry",
        "settings": "`npm config`, npm_config_registry, npm_config_proxy",
        "certificate": "`npm config set cafile FILE`, or NODE_EXTRA_CA_CERTS",
    },
}


def explain(tool: str, log: str) -> str:
    """Say in a sentence what made `tool` fail; "" if its log does not tell."""
    for pattern, sentence in _PATTERNS:
        if re.search(pattern, log):
            return sentence.format(tool=tool, **_TOOLS[tool])
    return ""


def explain_os_error(error: OSError) -> str:
    """Say in a sentence what the operating system refused."""
    place = error.filename or "a file"
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return _DISK
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return (
            f"{place} may not be written: this folder and everything in it must belong to you "
            "(was something here once run as root?)."
        )
    return f"{error.strerror or error} ({place}): put it right and run the same command again."
