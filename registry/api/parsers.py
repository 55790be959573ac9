"""Reading a request's body: JSON, bounded and unambiguous."""

import json
from typing import Any, NoReturn

from django.conf import settings
from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import BaseParser

MAX_DEPTH = 16


class TooLarge(APIException):
    status_code = 413
    default_detail = "The body is too large."


class BoundedJSONParser(BaseParser):
    """JSON of at most `limit` bytes and MAX_DEPTH levels, without NaN and without a name that is there twice.

    Raises ParseError (400) and TooLarge (413).
    """

    media_type = "application/json"
    limit: int = settings.DATA_UPLOAD_MAX_MEMORY_SIZE

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        body = stream.read(self.limit + 1)
        if len(body) > self.limit:
            raise TooLarge
        try:
            value = unambiguous(body)
        except RecursionError:
            raise ParseError(_TOO_DEEP) from None
        except ValueError as error:
            raise ParseError(f"The body is not JSON: {error}.") from None
        if _depth_exceeds(value, MAX_DEPTH):
            raise ParseError(_TOO_DEEP)
        return value


class ImportParser(BoundedJSONParser):
    """The same for a thousand devices."""

    limit = 8 * 1024 * 1024


def unambiguous(body: bytes) -> Any:
    """The JSON that `body` is. Raises ValueError, also for what two readers may read differently."""
    return _DECODER.decode(body.decode())


_TOO_DEEP = f"The body is nested deeper than {MAX_DEPTH} levels."


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        # Which of the two counts? A checker before us may have taken the other.
        raise ValueError("a name is there twice in one object")
    return found


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_object)


def _depth_exceeds(value: Any, most: int) -> bool:
    if not isinstance(value, (dict, list)):
        return False
    below = value.values() if isinstance(value, dict) else value
    return most == 0 or any(_depth_exceeds(each, most - 1) for each in below)
