"""Send requests to WHOOP.  The only module that knows requests."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from http.cookiejar import DefaultCookiePolicy
from urllib.parse import quote

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

from shared.core.model import Page, Question, RecordId, Secret
from shared.errors import Unavailable
from shared.provider import Grant
from whoop import api, oauth
from whoop.config import Config
from whoop.resources import Facts

#: WHOOP's edge refuses the names that HTTP libraries give themselves.
USER_AGENT = "GoToGym/1.0 (+https://www.gotogym.store)"
#: Seconds for connecting, for each read, and for the whole answer.
CONNECT, READ, WHOLE = 4.0, 8.0, 15.0
#: Bytes; a page of 25 records has about 30 KB.
LARGEST = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Client:
    """Asks WHOOP.  Raises only ``ProviderError``s, none of which quotes what was sent or said.

    Safe to share between threads: each has a session of its own, because requests does not
    promise that sessions can be shared.
    """

    config: Config
    clock: Callable[[], datetime]
    _local: threading.local = field(default_factory=threading.local)

    def redeem(self, code: Secret) -> Grant:
        """Trade a code for a grant."""
        return oauth.first(self._token(oauth.code_form(self.config, code)), self.config)

    def renew(self, refresh: Secret) -> Grant:
        """Trade a refresh token for a new grant."""
        return self._token(oauth.refresh_form(self.config, refresh))

    def fetch(self, access: Secret, facts: Facts, question: Question | None) -> Page:
        """Ask for one page, or for a document when ``question`` is None."""
        query = {} if question is None else api.parameters(question)
        status, headers, body = self._get(access, facts.path, query)
        cursor = None if question is None else question.cursor
        text = api.decipher(status, headers, body, now=self.clock(), cursor=cursor)
        page = api.document(text, facts) if question is None else api.page(text, facts)
        return replace(page, quota=api.quota(headers))

    def fetch_one(self, access: Secret, facts: Facts, record: RecordId) -> Page:
        """Ask for one record of a collection."""
        path = (facts.one_path or facts.path).format(quote(record, safe=""))
        status, headers, body = self._get(access, path, {})
        text = api.decipher(status, headers, body, now=self.clock())
        return replace(api.one(text, facts, record), quota=api.quota(headers))

    def revoke(self, access: Secret) -> None:
        """Give a grant back."""
        # https://developer.whoop.com/api: it ends the member's webhooks as well.
        status, headers, body = self._send(
            "DELETE", f"{self.config.api_url}/v2/user/access", headers=_bearer(access)
        )
        api.revoked(status, headers, body, now=self.clock())

    def _get(
        self, access: Secret, path: str, query: Mapping[str, str]
    ) -> tuple[int, Mapping[str, str], bytes]:
        url = self.config.api_url + path
        return self._send("GET", url, params=query, headers=_bearer(access))

    def _token(self, form: Mapping[str, str]) -> Grant:
        status, headers, body = self._send("POST", f"{self.config.oauth_url}/token", data=form)
        grant = oauth.decipher(status, headers, body, now=self.clock())
        return replace(grant, quota=api.quota(headers))

    def _send(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        data: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Mapping[str, str], bytes]:
        try:
            # No redirects: they would carry the token to wherever they lead.
            with self._session().request(
                method,
                url,
                params=params,
                data=data,
                headers=headers,
                timeout=(CONNECT, READ),
                allow_redirects=False,
                stream=True,
            ) as response:
                body = _read(response)
                lowercase = {name.lower(): value for name, value in response.headers.items()}
                return response.status_code, lowercase, body
        except (requests.RequestException, HTTPError, UnicodeError) as error:
            trouble = type(error).__name__
        # Out here, so that no chain leads to the original: its text can hold the address with
        # its query, or the header with the token.
        raise Unavailable(f"no answer from WHOOP: {trouble}")

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = _Session()
            # A .netrc would replace our Authorization header.
            session.trust_env = False
            # One member's cookies are not for the next one's requests.
            session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
            session.headers.update({"User-Agent": USER_AGENT, "Accept": "application/json"})
            # Trying again is the queue's business: it knows how long to wait.
            session.mount("https://", HTTPAdapter(max_retries=0))
            session.mount("http://", HTTPAdapter(max_retries=0))
            self._local.session = session
        return session


class _Session(requests.Session):
    """A session that is not led anywhere.

    Even where it may not follow a redirect, requests prepares to: it reads the whole body
    first, however long, and fails on a ``Location`` that is no address.
    """

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


def _bearer(access: Secret) -> dict[str, str]:
    return {"Authorization": f"Bearer {access.reveal()}"}


def _read(response: requests.Response) -> bytes:
    """Read the body whole, and give up on one that is endless or drips."""
    deadline = time.monotonic() + WHOLE
    pieces, size = [], 0
    # Not iter_content: where the length is known it waits for a whole piece, and a body that
    # drips would never give us a chance to look at the clock.
    while piece := response.raw.read1(64 * 1024, decode_content=True):
        pieces.append(piece)
        size += len(piece)
        if size > LARGEST or time.monotonic() > deadline:
            raise Unavailable("WHOOP's answer is too long or too slow")
    return b"".join(pieces)
