"""What drf-spectacular is told, so that the OpenAPI document says exactly what the API does.

`make openapi` writes the document to registry/api/openapi.yaml, which is kept: a change of the contract shows in the
diff, and is what `/api/openapi.yaml` serves.
"""

from typing import Any

from drf_spectacular.extensions import (
    OpenApiAuthenticationExtension,
    OpenApiSerializerExtension,
    OpenApiSerializerFieldExtension,
)
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter

PROBLEM = {
    "type": "object",
    "description": "What went wrong (RFC 9457). `type` is stable and may be compared; `detail` is for people.",
    "properties": {
        "type": {"type": "string", "pattern": "^urn:tokenhub:problem:[a-z-]+$"},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "description": "Each wrong field, in a 400.",
            "items": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "detail": {"type": "string"}},
                "required": ["field", "detail"],
                "additionalProperties": False,
            },
        },
    },
    "required": ["type", "title", "status", "detail"],
    "additionalProperties": False,
}

_LIMIT_HEADERS = {
    "RateLimit-Policy": {
        "schema": {"type": "string"},
        "description": "The caller's limits: requests (q) in seconds (w)",
    },
    "RateLimit": {"schema": {"type": "string"}, "description": "How they stand: requests left (r), all again in (t) s"},
}
_RETRY_AFTER = {
    "Retry-After": {"required": True, "schema": {"type": "integer", "minimum": 1}, "description": "Seconds"}
}

# What any operation may answer, by status: the component's name, what it says, and its headers.
PROBLEMS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "400": ("InvalidRequest", "The request is not as described; `errors` names the fields.", {}),
    "401": ("Unauthorized", "The key is missing, unknown or revoked.", {}),
    "403": ("Forbidden", "The key, or the user's token, does not allow this.", {}),
    "404": ("NotFound", "There is no such thing in this key's app.", {}),
    "406": ("NotAcceptable", "Answers are JSON, and `Accept` excludes it.", {}),
    "409": ("SharedInstallation", "Two phones post this installation id in turn.", {}),
    "413": ("TooLarge", "The body is too large.", {}),
    "415": ("UnsupportedMediaType", "Bodies are JSON.", {}),
    "429": ("TooManyRequests", "More requests than the key or the address may make.", _RETRY_AFTER),
    "503": ("Unavailable", "Something that is needed does not answer. Repeat it.", _RETRY_AFTER),
}
ALWAYS = ("400", "401", "403", "406", "429", "503")
WITH_BODY = ("413", "415")

_CONTROL = r"\u0000-\u001f"
_ANY = f"[^{_CONTROL}]*"

INSTALLATION_SECRET = OpenApiParameter(
    "Installation-Secret",
    str,
    OpenApiParameter.HEADER,
    description="What the first answer handed out to this installation. Server keys need none.",
)


class Schema(AutoSchema):
    """An operation of ours."""

    def get_operation(self, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        """The operation, with the problems that it may answer."""
        operation: dict[str, Any] | None = super().get_operation(*args, **kwargs)
        if operation is None:
            return None
        for serializer in getattr(self.view, "components", ()):  # that only raw parts of the document refer to
            self.resolve_serializer(serializer, "request")
        if getattr(self.view, "body_required", False):  # of a raw schema nobody else can tell
            operation["requestBody"]["required"] = True
        statuses = {*ALWAYS, *self._problems(operation), *getattr(self.view, "problems", {}).get(self.method, ())}
        if not self.view.authentication_classes:
            statuses.remove("401")
        for status in sorted(statuses):
            operation["responses"][status] = {"$ref": f"#/components/responses/{PROBLEMS[status][0]}"}
        return operation

    def _problems(self, operation: dict[str, Any]) -> list[str]:
        in_path = any(parameter["in"] == "path" for parameter in operation.get("parameters", ()))
        return [*(WITH_BODY if "requestBody" in operation else ()), *(["404"] if in_path else ())]


def finish(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """A postprocessing hook: adds the components that the operations' problems refer to."""
    result = _plain(result)
    for path in result["paths"].values():
        for operation in path.values():
            for status, response in operation["responses"].items():
                if status.startswith("2"):
                    response["headers"] = {**response.get("headers", {}), **_LIMIT_HEADERS}
    result["components"]["schemas"]["Problem"] = PROBLEM
    result["components"]["responses"] = {
        name: {
            "description": description,
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
            "headers": {**headers, **_LIMIT_HEADERS},
        }
        for name, description, headers in PROBLEMS.values()
    }
    return result


def _plain(node: Any) -> Any:
    """The same without what the generator notes for itself, and without its mistakes."""
    if isinstance(node, list):
        return [_plain(below) for below in node]
    if not isinstance(node, dict):
        return node
    plain = {name: _plain(below) for name, below in node.items() if name != "x-spec-enum-id"}
    if isinstance(plain.get("type"), list):
        plain["type"] = list(dict.fromkeys(plain["type"]))
    # Blank is one more choice beside the pattern for it, where our patterns allow it already: one of two would be both.
    either = plain.get("oneOf", ())
    return either[0] if len(either) == 2 and either[1] == {"type": "string", "maxLength": 0} else plain


class RuledSerializerExtension(OpenApiSerializerExtension):
    """Unknown fields are refused, or not; `rules` holds what JSON Schema can say of several fields together."""

    target_class = "registry.api.serializers.RuledSerializer"
    match_subclasses = True

    def map_serializer(self, auto_schema: AutoSchema, direction: Any) -> dict[str, Any]:
        # The one way to have the rest of it from within an extension, by drf-spectacular's own examples.
        described = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)  # noqa: SLF001
        closed = {"additionalProperties": False} if self.target.strict else {}
        return {**described, **closed, **self.target.rules}


class TextFieldExtension(OpenApiSerializerFieldExtension):
    """JSON Schema's `pattern` for the characters that the field takes."""

    target_class = "registry.api.fields.TextField"

    def map_serializer_field(self, auto_schema: AutoSchema, direction: Any) -> dict[str, Any]:
        visible = "" if self.target.allow_blank else f"[^{_CONTROL} ]{_ANY}"
        return {"type": "string", "pattern": f"^{_ANY}{visible}$"}


class BearerKeyScheme(OpenApiAuthenticationExtension):
    target_class = "registry.api.authentication.BearerKeyAuthentication"
    name = "key"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "The key of one app: `thub_mob_…` for the app itself, `thub_srv_…` for your own servers.",
        }
