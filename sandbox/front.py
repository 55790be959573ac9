"""The HTTP front of Microsoft's side: reads a call, plays a fault rule, has the call handled, keeps the journal."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from sandbox.faults import MALFORMED_BODY, Action
from sandbox.journal import Call
from sandbox.memory import Memory
from sandbox.wire import Answer, Incoming, RefusedError

type Endpoint = Callable[[Request], Awaitable[Response]]
type Prepare = Callable[[Incoming], None]
type Handler = Callable[[Memory, Incoming], Answer]


class Dropped(Response):
    """Cuts the connection: without a byte, or after the head and half of the body."""

    def __init__(self, answer: Answer | None) -> None:
        self._answer = answer

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """ASGI. The transport comes from `server.Protocol`: ASGI itself has no way to drop a connection."""
        transport = scope["state"]["transport"]
        if self._answer is None:
            transport.abort()
        else:
            body = self._answer.encoded() or b"{}"
            head = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
            await send({"type": "http.response.start", "status": self._answer.status, "headers": head})
            await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
            transport.close()
        while (await receive())["type"] != "http.disconnect":
            pass


class Front:
    """Makes endpoints of handlers."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def endpoint(self, kind: str, handler: Handler, prepare: Prepare | None = None) -> Endpoint:
        """An endpoint for calls of `kind`. `prepare` reads the call before a fault rule is chosen by app and kind."""

        async def endpoint(request: Request) -> Response:
            try:
                body = await request.body()
            except ClientDisconnect:
                return Response(status_code=400)
            url = request.url
            call = Incoming(
                kind, request.headers.get("host", ""), url.path, url.query, request.path_params, request.headers, body
            )
            refusal = _prepare(call, prepare)
            if self._memory.settings.latency:
                await asyncio.sleep(self._memory.settings.latency)
            rule = self._memory.faults.take(call.kind, call.mobile_app_id, [token for _, token in call.items])
            if rule is None:
                return _response(self._handle(call, handler, refusal))
            return await self._play(
                rule.action, rule.name, call, lambda: self._handle(call, handler, refusal, rule.name)
            )

        return endpoint

    def _handle(self, call: Incoming, handler: Handler, refusal: Answer | None, fault: str | None = None) -> Answer:
        # Whatever was due before this call has taken effect before it.
        call.at = time.time()
        self._memory.cij.work_off(call.at)
        call.seq = self._memory.journal.next()
        if refusal is not None:
            answer = refusal
        else:
            try:
                answer = handler(self._memory, call)
            except RefusedError as error:
                answer = error.answer
        self._note(call, answer.status, fault)
        return answer

    def _note(self, call: Incoming, status: int | None, fault: str | None) -> None:
        self._memory.journal.calls.append(
            Call(
                call.seq,
                call.at,
                call.kind,
                call.org_id,
                call.mobile_app_id,
                status,
                call.items,
                fault,
                call.headers.get("x-ms-client-request-id"),
                call.headers.get("traceparent"),
            )
        )

    async def _play(self, action: Action, name: str, call: Incoming, handle: Callable[[], Answer]) -> Response:
        """The steps are those of `Action`."""
        await asyncio.sleep(action.delay)
        status = 400 if action.poison and action.status is None else action.status
        if action.drop_connection == "before" or (status is not None and not action.handled):
            dropped = action.drop_connection == "before"
            call.seq, call.at = self._memory.journal.next(), time.time()
            self._note(call, None if dropped else status, name)
            return Dropped(None) if dropped else _response(_stated(action, status))
        call.outcome = action.outcome
        answer = handle()
        if status is not None:
            answer = _stated(action, status)
        if action.short_array and isinstance(answer.body, list):
            answer.body = answer.body[:-1]
        await asyncio.sleep(action.answer_delay)
        if action.drop_connection:
            return Dropped(answer if action.drop_connection == "middle" else None)
        return _response(answer, MALFORMED_BODY if action.malformed else None)


def _prepare(call: Incoming, prepare: Prepare | None) -> Answer | None:
    try:
        if prepare:
            prepare(call)
    except RefusedError as error:
        return error.answer
    return None


def _stated(action: Action, status: int | None) -> Answer:
    return Answer(status or 500, action.body, dict(action.headers))


def _response(answer: Answer, body: bytes | None = None) -> Response:
    content = answer.encoded() if body is None else body
    return Response(content, answer.status, answer.headers, "application/json" if content else None)
