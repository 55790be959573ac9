"""Reading a request's body: JSON, bounded."""

import io
from typing import Any

from django.conf import settings
from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser

from registry.api.problems import TooLarge


class BoundedJSONParser(JSONParser):
    """JSON of at most `limit` bytes. Raises ParseError (400) and TooLarge (413)."""

    limit: int = settings.DATA_UPLOAD_MAX_MEMORY_SIZE

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        limit = self.limit
        body = stream.read(limit + 1)
        if len(body) > limit:
            raise TooLarge
        try:
            return super().parse(io.BytesIO(body), media_type, parser_context)
        except RecursionError:
            raise ParseError("JSON parse error - nested too deeply.") from None


class ImportParser(BoundedJSONParser):
    """The same for a thousand devices."""

    limit = 8 * 1024 * 1024
