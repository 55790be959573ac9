"""The filter's parser on its own."""

import pytest

from sandbox.dataverse.odata import And, Eq, Literal, Node, Or, parse
from sandbox.wire import RefusedError

GUID = "0f8fad5b-d9cb-469f-a165-70867728950e"


def eq(column: str, kind: str, value: str | int | None) -> Eq:
    return Eq(column, Literal(kind, value))


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a eq 'x'", eq("a", "string", "x")),
        ("a eq 'O''Neil'", eq("a", "string", "O'Neil")),
        ("a eq ''''", eq("a", "string", "'")),
        ("a eq ''", eq("a", "string", "")),
        ("a eq 'or b eq (null)'", eq("a", "string", "or b eq (null)")),
        ("statecode eq 0", eq("statecode", "int", 0)),
        ("statecode eq -1", eq("statecode", "int", -1)),
        (f"_masterid_value eq {GUID.upper()}", eq("_masterid_value", "guid", GUID)),
        ("a eq null", eq("a", "null", None)),
        ("merged eq true", eq("merged", "bool", True)),
        ("  ( a eq 1 )  ", eq("a", "int", 1)),
        ("a eq 1 or b eq 2 and c eq 3", Or((eq("a", "int", 1), And((eq("b", "int", 2), eq("c", "int", 3)))))),
        ("(a eq 1 or b eq 2) and c eq 3", And((Or((eq("a", "int", 1), eq("b", "int", 2))), eq("c", "int", 3)))),
    ],
)
def test_a_filter_becomes_its_tree(text: str, tree: Node) -> None:
    assert parse(text) == tree


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "a eq",
        "a eq 'x",
        "a eq 'x''",
        "a eq x",
        "eq 'x'",
        "a = 'x'",
        "a ne 'x'",
        "a EQ 'x'",
        "a eq 'x' OR a eq 'y'",
        "a eq 'x' or",
        "a eq 'x' a eq 'y'",
        "(a eq 'x'",
        "a eq 'x')",
        "a eq 1.5",
        'a eq "x"',
        "contains(a,'x')",
        "not (a eq 'x')",
        "Microsoft.Dynamics.CRM.In(PropertyName=@p1,PropertyValues=@p2)",
        "(" * 200 + "a eq 1" + ")" * 200,
    ],
)
def test_what_is_no_supported_filter_is_refused(text: str) -> None:
    with pytest.raises(RefusedError) as refused:
        parse(text)
    assert refused.value.answer.status == 400
    assert refused.value.answer.body["error"]["code"] == "0x80060888"


def test_500_conditions_are_taken_and_501_are_not() -> None:
    parse(" or ".join(["a eq 1"] * 500))
    with pytest.raises(RefusedError) as refused:
        parse(" or ".join(["a eq 1"] * 501))
    assert refused.value.answer.body["error"]["code"] == "0x8004430C"
