"""What is pasted from the Developer information tab fills the form in; what is not sure is left empty."""

import pytest

from registry.services.developer_info import parse

ORG, APP = "0a0a0a0a-1111-2222-3333-444444444444", "5b5b5b5b-1111-2222-3333-444444444444"
ALL = {
    "org_id": ORG,
    "mobile_app_id": APP,
    "endpoint": "public-eur.mkt.dynamics.com",
    "api_token": "AbC-1234567890_xyz",
}
TAB = f"""Mobile app configuration
Developer information
Mobile App ID
{APP}
Organization ID
{ORG}
Public endpoint
public-eur.mkt.dynamics.com
API token
AbC-1234567890_xyz
"""
LINE = (
    f"OrgId: {ORG}  PublicEndpoint: https://public-eur.mkt.dynamics.com/  MobileAppId: {APP}  "
    "ApiToken: AbC-1234567890_xyz"
)
CALL = f"""POST https://public-eur.mkt.dynamics.com/api/v1.0/orgs/{ORG}/pushdeviceregistration/devices
{{"MobileAppId": "{APP}", "UserId": "{ORG[::-1]}", "ApiToken": "AbC-1234567890_xyz",
"FcmDeviceToken": "abcdefghijkl"}}"""


@pytest.mark.parametrize("text", [TAB, LINE, CALL, TAB.replace("\n", "\r\n"), TAB.replace("\n", "\t")])
def test_every_way_to_paste_it_is_understood(text: str) -> None:
    found = parse(text)
    assert {**found, "endpoint": found["endpoint"].removeprefix("https://")} == ALL


@pytest.mark.parametrize("text", ["", "hello", "API token\n", ORG, "x" * 100_000, "endpoint " * 5_000])
def test_what_tells_nothing_fills_in_nothing(text: str) -> None:
    assert parse(text) == {}


def test_a_part_of_it_fills_in_a_part() -> None:
    assert parse(f"Application ID: {APP}") == {"mobile_app_id": APP}


def test_a_device_s_token_in_a_sample_is_not_taken_for_the_api_s() -> None:
    assert "api_token" not in parse('{"FcmDeviceToken": "abcdefghijklmnop", "ApnsDeviceToken": "0123456789abcdef"}')
