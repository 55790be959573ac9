"""Errors that services raise; the API and the command line put them into words of their own medium."""


class InvalidInput(Exception):
    """A value is wrong. `field` is its name as the caller wrote it, dotted where nested."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message
