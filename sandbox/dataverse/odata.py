"""A parser for the part of OData's `$filter` that look-ups use: `eq`, `and`, `or`, parentheses.

Source: webapi/query/filter-rows.md.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple

from sandbox.dataverse.errors import TOO_MANY_CONDITIONS, bad_query, error

MAX_CONDITIONS = 500
# Deeper nesting than any client needs; it keeps the recursion harmless.
MAX_DEPTH = 50

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<string>'(?:[^']|'')*')
    | (?P<guid>[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12})
    | (?P<int>-?\d+(?![\w.]))
    | (?P<word>[A-Za-z_][\w.]*)
    | (?P<punct>[(),=@])
    )""",
    re.VERBOSE,
)


class Literal(NamedTuple):
    """A value in a filter; `kind` is string, guid, int, bool or null."""

    kind: str
    value: str | int | bool | None


@dataclass(frozen=True, slots=True)
class Eq:
    """`column eq literal`."""

    column: str
    literal: Literal


@dataclass(frozen=True, slots=True)
class And:
    """All of the parts."""

    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Any of the parts."""

    parts: tuple["Node", ...]


type Node = Eq | And | Or


def parse(text: str) -> Node:
    """The filter's syntax tree; refuses (400) what is no filter, is not supported here, or has over 500 conditions."""
    parser = _Parser(text)
    node = parser.any_of(0)
    if parser.peek()[0] != "end":
        raise parser.syntax_error()
    return node


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(_tokenize(text))
        self._at = 0
        self._conditions = 0

    def peek(self) -> tuple[str, str, int]:
        return self._tokens[self._at]

    def _take(self) -> tuple[str, str, int]:
        token = self._tokens[self._at]
        self._at += 1
        return token

    def _take_word(self, word: str) -> bool:
        if self.peek()[:2] == ("word", word):
            self._at += 1
            return True
        return False

    def syntax_error(self) -> Exception:
        return bad_query(f"Syntax error at position {self.peek()[2]} in '{self._text[:200]}'.")

    def any_of(self, depth: int) -> Node:
        parts = [self._all_of(depth)]
        while self._take_word("or"):
            parts.append(self._all_of(depth))
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _all_of(self, depth: int) -> Node:
        parts = [self._single(depth)]
        while self._take_word("and"):
            parts.append(self._single(depth))
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _single(self, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise bad_query("The filter is nested too deeply.")
        if self.peek()[1] == "(":
            self._take()
            node = self.any_of(depth + 1)
            if self._take()[1] != ")":
                self._at -= 1
                raise self.syntax_error()
            return node
        return self._condition()

    def _condition(self) -> Node:
        kind, column, _ = self.peek()
        if kind != "word":
            raise self.syntax_error()
        self._take()
        if self.peek()[1] == "(":
            raise bad_query(f"The function '{column}' is not supported here.")
        if not self._take_word("eq"):
            raise self.syntax_error()
        self._conditions += 1
        if self._conditions > MAX_CONDITIONS:
            raise error(400, TOO_MANY_CONDITIONS, "Number of conditions in query exceeded maximum limit.")
        return Eq(column, self._literal())

    def _literal(self) -> Literal:
        kind, text, _ = self.peek()
        if kind == "string":
            literal = Literal("string", text[1:-1].replace("''", "'"))
        elif kind == "guid":
            literal = Literal("guid", text.lower())
        elif kind == "int":
            literal = Literal("int", int(text))
        elif text in _CONSTANTS:
            literal = _CONSTANTS[text]
        else:
            raise self.syntax_error()
        self._take()
        return literal


_CONSTANTS = {"null": Literal("null", None), "true": Literal("bool", True), "false": Literal("bool", False)}


def _tokenize(text: str) -> list[tuple[str, str, int]]:
    tokens: list[tuple[str, str, int]] = []
    at = 0
    end = len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            raise bad_query(f"Syntax error at position {at} in '{text[:200]}'.")
        tokens.append((match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
        at = match.end()
    tokens.append(("end", "", end))
    return tokens
