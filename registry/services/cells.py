"""Cells of a CSV file that spreadsheets would take for a formula: marked on the way out, unmarked on the way in.

What phones post must not be run by whoever opens a list in a spreadsheet, and a list must come back as it was.
"""

import re

# A number, of a phone say, is none. Apostrophes in front count: else a text that begins so itself would lose its own.
_FORMULA = re.compile(r"'*(?:[=@\t\r]|[+-](?!\d+$))")


def guarded(text: str) -> str:
    """The text as a spreadsheet shows it, and does not run it."""
    return f"'{text}" if _FORMULA.match(text) else text


def unguarded(cell: str) -> str:
    """What `guarded` made the cell of."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
