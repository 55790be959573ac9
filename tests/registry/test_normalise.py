"""One spelling for everything that is compared."""

from email_validator import EmailNotValidError, validate_email
from hypothesis import example, given, strategies

from registry.services.errors import InvalidInput
from registry.services.normalise import email_address

PIECES = strategies.sampled_from(
    ["a", "ben", "Anna", "1", ".", "-", "_", "+", "'", "ä", " ", "@", "xn--", "\n", "x" * 40]
)
LOCAL_PARTS = strategies.lists(PIECES, max_size=4).map("".join)
DOMAINS = strategies.lists(
    strategies.sampled_from(["example", "com", ".", "-", "xn--mnchen-3ya", "Ä", "B", "1", "[", "]", "_", "y" * 60]),
    max_size=6,
).map("".join)


@given(local=LOCAL_PARTS, domain=DOMAINS)
@example(local="anna.b+shop", domain="example.com")
@example(local="a", domain="b")
@example(local="a" * 65, domain="example.com")
@example(local="a" * 64, domain=f"{'b' * 60}.{'c' * 60}.{'d' * 60}.example")
@example(local="anna", domain="xn--mnchen-3ya.example")
@example(local="anna", domain="example.com.")
def test_the_short_way_for_plain_addresses_says_what_the_library_says(local: str, domain: str) -> None:
    text = f"{local}@{domain}"
    try:
        wanted = validate_email(text.strip(), check_deliverability=False, globally_deliverable=False).normalized
    except EmailNotValidError as error:
        wanted = f"is not an e-mail address: {error}"
    try:
        found = email_address("email", text)
    except InvalidInput as error:
        found = error.message
    assert found == wanted
