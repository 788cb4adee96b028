"""pip comes from where pip's own settings say, and only the one that was locked is run."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from dev import installer
from dev.bootstrap import Environment, Sources, ensure
from dev.failures import SetupError
from dev.installer import DEFAULT_INDEX, PipSettings, config_files, link, pinned, read_settings
from tests.dev.registry import WHEEL, Registry


class TestDownload:
    @pytest.mark.parametrize("as_json", [True, False])
    def test_an_index_speaks_html_or_json(self, index: Registry, *, as_json: bool) -> None:
        index.as_json = as_json

        wheel = installer.download(WHEEL, frozenset([index.digest]), PipSettings((index.url,)))

        assert wheel == index.wheel

    def test_a_wheel_that_is_not_the_locked_one_is_refused(self, index: Registry) -> None:
        with pytest.raises(SetupError, match="is not the one that the lock file names"):
            installer.download(WHEEL, frozenset(["0" * 64]), PipSettings((index.url,)))

    def test_an_index_without_it_says_so(self, index: Registry) -> None:
        index.files = ["pip-1.0-py3-none-any.whl"]

        with pytest.raises(SetupError, match="lacks a package"):
            installer.download(WHEEL, frozenset([index.digest]), PipSettings((index.url,)))

    def test_a_second_index_is_asked_where_the_first_has_none(self, index: Registry) -> None:
        settings = PipSettings((index.url.replace("simple", "empty"), f"{index.url}/"))

        assert installer.download(WHEEL, frozenset([index.digest]), settings) == index.wheel

    def test_a_login_in_the_address_is_sent_as_one(self, index: Registry) -> None:
        with_login = index.url.replace("//", "//me:p%40ss@")

        installer.download(WHEEL, frozenset([index.digest]), PipSettings((with_login,)))

        login = base64.b64encode(b"me:p@ss").decode()
        assert {sent for _, sent in index.asked} == {f"Basic {login}"}

    def test_a_folder_can_be_an_index(self, index: Registry, tmp_path: Path) -> None:
        (tmp_path / "pip").mkdir()
        (tmp_path / "pip" / WHEEL).write_bytes(index.wheel)
        (tmp_path / "pip" / "index.html").write_text(f'<a href="{WHEEL}">pip</a>')

        settings = PipSettings((tmp_path.as_uri(),))
        assert installer.download(WHEEL, frozenset([index.digest]), settings) == index.wheel

    def test_no_network_is_told_as_such(self, no_ensurepip: None) -> None:
        settings = PipSettings(("http://127.0.0.1:9/simple",), proxy="http://127.0.0.1:9")

        with pytest.raises(SetupError, match="The network does not reach"):
            installer.download(WHEEL, frozenset(), settings)

    def test_certificates_that_cannot_be_used_are_named(self, tmp_path: Path) -> None:
        bundle = tmp_path / "bundle.pem"

        with pytest.raises(SetupError, match=r"bundle\.pem"):
            installer.download(WHEEL, frozenset(), PipSettings(cert=str(bundle)))

    def test_a_refused_pip_is_never_run(
        self, env: Environment, sources: Sources, no_ensurepip: None
    ) -> None:
        sources.lock("pip").write_text(f"pip==99.1 --hash=sha256:{'0' * 64}\n")

        with pytest.raises(SetupError, match="is not the one that the lock file names"):
            ensure(env, "run", with_node=False, sources=sources)

        assert not list(env.folder.glob("*.whl"))
        assert not (sources.work / "pip.log").exists()

    def test_where_pip_cannot_be_downloaded_pythons_own_is_used(
        self, env: Environment, sources: Sources, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
        monkeypatch.setattr(installer, "_add_pip", lambda python: True)
        env.folder.mkdir()

        command = installer.pip(env.python, env.packages, sources.lock("pip"))

        assert command == [str(env.python), "-m", "pip"]

    def test_a_pip_that_is_installed_is_used(self, env: Environment, sources: Sources) -> None:
        (env.packages / "pip").mkdir(parents=True)

        command = installer.pip(env.python, env.packages, sources.lock("pip"))

        assert command == [str(env.python), "-m", "pip"]


class TestSettings:
    def test_without_any_the_public_index_is_used(self) -> None:
        assert read_settings({}, []) == PipSettings((DEFAULT_INDEX,))

    def test_the_environment_counts_before_files_and_install_before_global(self) -> None:
        files = [
            "[global]\nindex-url = https://one\nproxy = http://one\ncert = /one.pem\n",
            "[global]\nindex_url = https://two\n[install]\nproxy = http://two\n",
        ]

        settings = read_settings({"PIP_INDEX_URL": "https://three"}, files)

        assert settings == PipSettings(("https://three",), "/one.pem", "http://two")
        assert read_settings({}, files).indexes == ("https://two",)

    def test_more_indexes_are_asked_as_well(self) -> None:
        settings = read_settings({"PIP_EXTRA_INDEX_URL": "https://a https://b"}, [])

        assert settings.indexes == (DEFAULT_INDEX, "https://a", "https://b")

    def test_the_certificates_that_requests_is_told_of_count_as_they_do_for_pip(self) -> None:
        assert read_settings({"REQUESTS_CA_BUNDLE": "/a.pem"}, []).cert == "/a.pem"
        assert read_settings({"REQUESTS_CA_BUNDLE": "/a", "PIP_CERT": "/b"}, []).cert == "/b"

    def test_a_file_that_cannot_be_understood_does_not_matter(self) -> None:
        assert read_settings({}, ["index-url = https://no-section"]) == PipSettings()

    def test_the_file_that_counts_most_is_read_last(self, tmp_path: Path) -> None:
        own = tmp_path / ".config" / "pip"
        own.mkdir(parents=True)
        for path in (own / "pip.conf", own / "pip.ini", tmp_path / "chosen"):
            path.write_text(path.name)
        variables = {"PIP_CONFIG_FILE": str(tmp_path / "chosen"), "APPDATA": str(own.parent)}

        found = config_files(variables, tmp_path)

        assert found[-2:] in (["pip.conf", "chosen"], ["pip.ini", "chosen"])
        assert config_files({"PIP_CONFIG_FILE": os.devnull}, tmp_path) == []


def test_a_page_without_the_file_has_no_link() -> None:
    assert link('<a href="pip-1.whl">', "text/html", "pip-2.whl") is None
    assert link('{"files": []}', "application/json", "pip-2.whl") is None
    assert link('<A HREF="a/pip-2.whl?x=1&amp;y=2#z">', "text/html", "pip-2.whl") is None
    assert link("<a href='../b/pip-2.whl#sha256=0'>", "text/html", "pip-2.whl") == (
        "../b/pip-2.whl#sha256=0"
    )


def test_a_lock_file_without_pip_is_noticed() -> None:
    with pytest.raises(SetupError, match="names no pip"):
        pinned("")
