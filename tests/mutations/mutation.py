"""A protection, the edit that takes it out, and the tests that must notice."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Mutation:
    """`name` says what is protected. `old` stands in `file` exactly once; `new` in its place takes the protection out.

    `tests` are pytest's node ids, without parameters.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def problems(self) -> Iterator[str]:
        """What in this row does not fit the tree any more."""
        found = (ROOT / self.file).read_text().count(self.old)
        if found != 1:
            yield f"{self.name}: {self.file} has {found} times: {self.old}"
        for test in self.tests:
            path, _, function = test.partition("::")
            if not (ROOT / path).is_file() or f"def {function}(" not in (ROOT / path).read_text():
                yield f"{self.name}: there is no test {test}"

    def apply(self, tree: Path) -> None:
        """Take the protection out of a copy of the tree."""
        path = tree / self.file
        path.write_text(path.read_text().replace(self.old, self.new))
