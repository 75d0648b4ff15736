"""Tables in LaTeX with booktabs: one document that compiles. A comment with its name precedes each table."""

import unicodedata
from collections.abc import Sequence

from lra.leaderboard.sheet import Cell, Sheet

SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "^": r"\textasciicircum{}",
    "_": r"\_", "~": r"\textasciitilde{}", "%": r"\%", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    '"': "''", "†": r"\dag{}", "‡": r"\ddag{}", "±": r"$\pm$", "¶": r"\P{}", "`": r"\textasciigrave{}", "'": "'",
    "[": "{[}", "]": "{]}", "\u2013": "--", "\u2014": "---", "\u2018": "`", "\u2019": "'", "“": "``", "”": "''",
}  # fmt: skip
LINE = 27.7  # centimetres of a line
LETTER, GAP = 0.135, 0.28  # centimetres of a letter, at most on average, and between two columns
WIDEST = 4.5  # centimetres of a column of prose
LONG, PART = 20, 8  # letters of a word that may be broken, and of the parts that stay whole
HEAD = r"""\documentclass[10pt]{article}
\usepackage[a4paper,landscape,margin=1cm]{geometry}
\usepackage{booktabs,array,caption,longtable,textcomp}
\newcolumntype{P}[1]{>{\raggedright\arraybackslash}p{#1cm}}
\setlength{\tabcolsep}{4pt}
\setlength{\LTleft}{0pt}
\begin{document}
\scriptsize
"""


def latex(sheets: Sequence[Sheet]) -> str:
    """All tables as one document."""
    return HEAD + "\n".join(table(sheet) for sheet in sheets) + "\\end{document}\n"


def table(sheet: Sheet) -> str:
    """One table. A long table continues on the next page."""
    kept = [place for place, column in enumerate(sheet.columns) if not column.extra]
    columns = [sheet.columns[place] for place in kept]
    prose = {place for place in kept[1:] if not sheet.columns[place].number}
    width = width_of_prose(sheet, [place for place in kept if place not in prose], len(prose))
    widths = "l" + "".join(f"P{{{width:g}}}" if place in prose else "r" for place in kept[1:])
    header = " & ".join(escaped(column.name) for column in columns) + r" \\"
    lines = [
        f"% {sheet.name}",
        rf"\begin{{longtable}}{{@{{}}{widths}@{{}}}}",
        rf"\caption*{{\textbf{{{escaped(sheet.title)}}} {escaped(sheet.caption)}}} \\",
        r"\toprule",
        header,
        r"\midrule \endhead",
        r"\bottomrule \endfoot",
        *(" & ".join(marked(entry.cells[place], place in prose) for place in kept) + r" \\" for entry in sheet.entries),
        r"\end{longtable}",
        *(rf"\noindent\textsuperscript{{{escaped(mark)}}} {escaped(text)}\par" for mark, text in sheet.notes),
        "",
    ]
    return "\n".join(lines)


def width_of_prose(sheet: Sheet, others: Sequence[int], count: int) -> float:
    """The centimetres of each of some columns of prose: what the other columns leave of a line."""
    texts = ([sheet.columns[place].name, *(entry.cells[place].text for entry in sheet.entries)] for place in others)
    left = LINE - sum(LETTER * max(map(len, column)) + GAP for column in texts)
    return round(min(WIDEST, max(left / max(count, 1) - GAP, WIDEST / 2)), 1)


def marked(cell: Cell, prose: bool) -> str:
    text = " ".join(map(broken, cell.text.split())) if prose else escaped(cell.text)
    return text + (rf"\textsuperscript{{{escaped(cell.signs)}}}" if cell.marks else "")


def broken(word: str) -> str:
    """A word, escaped, that LaTeX may break into parts if it is long, as an address is."""
    if len(word) <= LONG:
        return escaped(word)
    return r"\allowbreak{}".join(escaped(word[place : place + PART]) for place in range(0, len(word), PART))


def escaped(text: str) -> str:
    """Any text with LaTeX's special characters escaped.

    A letter whose accent Type 1 fonts lack loses it. Other characters that they lack become question marks.
    """
    plain = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return "".join(SPECIAL.get(char) or (char if char in LATIN else without_accent(char)) for char in plain)


def without_accent(char: str) -> str:
    first = unicodedata.normalize("NFD", char)[0]
    return first if first.isascii() else "?"


LATIN = frozenset("äöüÄÖÜßéèêëàâáåæçñóòôøúùûíìîïÉÈÀÅÆØÇÑ·°§łŁ")
