"""Settings that come from files, as Docker and Kubernetes mount secrets."""

from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from tests.tokenhub.test_settings import EXTERNAL, SECRETS, check
from tokenhub.secret_files import read_secret_files


def test_every_secret_may_come_from_a_file_with_a_line_end_or_without(tmp_path: Path) -> None:
    given = {}
    for name, value in (EXTERNAL | SECRETS).items():
        (tmp_path / name).write_text(value + ("\n" if name.endswith("KEY") else ""))
        given[f"{name}_FILE"] = str(tmp_path / name)
    environment = dict(given)
    read_secret_files(environment)
    assert environment == EXTERNAL | SECRETS
    result = check(**given, TOKENHUB_ALLOWED_HOSTS="push.example.com", TOKENHUB_TRUSTED_PROXIES="10.0.0.0/8")
    assert result.returncode == 0, result.stderr


def test_other_variables_that_end_so_stay_what_they_are(tmp_path: Path) -> None:
    environment = {"SSL_CERT_FILE": str(tmp_path / "ca.pem"), "LOG_FILE": "/nowhere", "TOKENHUB_SECRET_KEY_FILE": ""}
    read_secret_files(environment)
    assert len(environment) == 3


@pytest.mark.parametrize(
    ("content", "also", "said"),
    [
        (None, "", "TOKENHUB_SECRET_KEY_FILE: {path} cannot be read: No such file or directory."),
        (b"", "", "TOKENHUB_SECRET_KEY_FILE: {path} is empty."),
        (b"\n", "", "TOKENHUB_SECRET_KEY_FILE: {path} is empty."),
        (b"\xff\xfe", "", "TOKENHUB_SECRET_KEY_FILE: {path} cannot be read: it is not text."),
        (b"one", "another", "TOKENHUB_SECRET_KEY and TOKENHUB_SECRET_KEY_FILE are both set: take one of them away."),
    ],
)
def test_a_file_that_holds_nothing_or_a_value_given_twice_is_an_error(
    tmp_path: Path, content: bytes | None, also: str, said: str
) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ImproperlyConfigured) as error:
        read_secret_files({"TOKENHUB_SECRET_KEY_FILE": str(path), "TOKENHUB_SECRET_KEY": also})
    assert str(error.value) == said.format(path=path)


def test_a_command_says_it_without_a_traceback(tmp_path: Path) -> None:
    result = check(**EXTERNAL, TOKENHUB_SECRET_KEY_FILE=str(tmp_path / "none"))
    assert result.returncode == 1
    assert result.stderr == f"TOKENHUB_SECRET_KEY_FILE: {tmp_path}/none cannot be read: No such file or directory.\n"
