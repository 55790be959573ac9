from tests.sandbox_process import sandbox, world

__all__ = ["sandbox", "world"]
