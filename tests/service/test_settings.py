"""Settings: order of sources, names in errors, secrets never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.settings import Settings, SettingsError, describe, is_loopback, read_settings, to_environ


def test_later_sources_win_default_file_environment_command_line(tmp_path: Path) -> None:
    file = tmp_path / "diaphane.toml"
    file.write_text("port = 1001\nworkers = 2\nmax_parts = 7\n")
    environ = {"DIAPHANE_SETTINGS": str(file), "DIAPHANE_PORT": "1002", "DIAPHANE_WORKERS": "3"}

    settings = read_settings(environ, workers=4, host=None)

    assert (1002, 4, 7, "127.0.0.1") == (settings.port, settings.workers, settings.max_parts, settings.host)


def test_an_unknown_name_in_the_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    file = tmp_path / "diaphane.toml"
    file.write_text("prot = 1001\n")

    with pytest.raises(SettingsError, match=r"^prot: "):
        read_settings({"DIAPHANE_SETTINGS": str(file)})


def test_a_bad_value_is_named_but_not_repeated() -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings({"DIAPHANE_PORT": "s3cret"})

    assert str(caught.value).startswith("port: ")
    assert "s3cret" not in str(caught.value)


def test_a_missing_settings_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="DIAPHANE_SETTINGS"):
        read_settings({"DIAPHANE_SETTINGS": str(tmp_path / "none.toml")})


def test_listening_beyond_loopback_needs_a_token_or_a_word() -> None:
    with pytest.raises(SettingsError, match="api_token"):
        read_settings({"DIAPHANE_HOST": "0.0.0.0"})
    assert read_settings({"DIAPHANE_HOST": "0.0.0.0", "DIAPHANE_API_TOKEN": "x"}).host
    assert read_settings({"DIAPHANE_HOST": "0.0.0.0", "DIAPHANE_ALLOW_ANONYMOUS": "1"}).host


def test_the_token_is_masked_wherever_settings_are_shown() -> None:
    settings = Settings(api_token="canary-token")

    rows = {name: value for name, value, _, _ in describe(settings)}

    assert "********" == rows["DIAPHANE_API_TOKEN"]
    assert "canary-token" not in repr(settings) + str(settings) + settings.model_dump_json()


def test_every_setting_has_a_meaning() -> None:
    assert [] == [name for name, _, _, meaning in describe(Settings()) if len(meaning) < 15]


def test_settings_survive_the_way_through_the_environment() -> None:
    settings = Settings(api_token="t", port=5, released=Path("/somewhere"), timeout_s=2.5, allow_anonymous=True)

    assert settings == read_settings(to_environ(settings))
    assert Settings() == read_settings(to_environ(Settings()))


@pytest.mark.parametrize(("host", "expected"), [
    ("127.0.0.1", True), ("::1", True), ("localhost", True), ("127.9.9.9", True), ("0.0.0.0", False),
    ("10.0.0.1", False), ("pacs.example.org", False), ("", False),
])
def test_loopback_is_recognised(host: str, expected: bool) -> None:
    assert expected == is_loopback(host)
