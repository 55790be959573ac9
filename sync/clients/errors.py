"""What can go wrong with a call, by what it means for the caller.

RemoteError
├── Refused        400: this request is wrong; sending it again as it is would not help
├── Denied         401, 403: the credentials are wrong
├── Throttled      429, or 503 with Retry-After: wait that long, everybody
└── Unavailable    no answer, a 5xx, or an answer that makes no sense: the far end may or may not have acted
    └── NotMade    the call was not made, since its lease would not have outlasted it: says nothing of the far end
"""


class RemoteError(Exception):
    """A call that did not do what it was to. The text is safe to store and to log: it holds no secret."""

    may_have_acted = False


class Refused(RemoteError):
    pass


class Denied(RemoteError):
    pass


class Throttled(RemoteError):
    def __init__(self, message: str, retry_after: float, *, may_have_acted: bool = False) -> None:
        super().__init__(message)
        self.retry_after = retry_after  # seconds
        self.may_have_acted = may_have_acted


class Unavailable(RemoteError):
    may_have_acted = True


class NotMade(Unavailable):
    may_have_acted = False
