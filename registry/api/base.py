"""What every endpoint has in common."""

from heapq import nsmallest
from typing import Any

from django.http import QueryDict
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.views import APIView

from registry.api.problems import MAX_ERRORS


class Endpoint(APIView):
    """Names in `Allow` what it answers, and refuses query parameters that it does not know: a misspelt one would be
    passed over silently."""

    # OPTIONS would tell what openapi.yaml tells better.
    http_method_names = [method for method in APIView.http_method_names if method != "options"]
    parameters: tuple[str, ...] | None = ()  # of the query; None: whatever comes is passed over

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if self.parameters is not None and request.query_params:
            _check(request.query_params, self.parameters)


def _check(asked: QueryDict, known: tuple[str, ...]) -> None:
    told = f"known are: {', '.join(known)}" if known else "there are none"
    errors = {
        name: [f"is not a query parameter of this request; {told}."]
        for name in nsmallest(MAX_ERRORS, asked.keys() - set(known))
    }
    # Which of the two counts?
    errors |= {name: ["is there twice."] for name in known if len(asked.getlist(name)) > 1}
    if errors:
        raise serializers.ValidationError(errors)
