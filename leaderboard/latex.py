"""Tables in LaTeX with booktabs: one document that compiles. A comment with its name precedes each table."""

from collections.abc import Sequence

from lra.leaderboard.sheet import Cell, Sheet

SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "^": r"\textasciicircum{}",
    "_": r"\_", "~": r"\textasciitilde{}", "%": r"\%", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    '"': "''", "†": r"\dag{}", "‡": r"\ddag{}", "±": r"$\pm$", "¶": r"\P{}", "`": r"\textasciigrave{}", "'": "'",
    "[": "{[}", "]": "{]}",
}  # fmt: skip
HEAD = r"""\documentclass[10pt]{article}
\usepackage[a4paper,landscape,margin=1cm]{geometry}
\usepackage{booktabs,caption,longtable,textcomp}
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
    widths = "".join(
        "r" if column.number else "l" if place == 0 else "p{4.5cm}" for place, column in enumerate(columns)
    )
    header = " & ".join(escaped(column.name) for column in columns) + r" \\"
    lines = [
        f"% {sheet.name}",
        rf"\begin{{longtable}}{{@{{}}{widths}@{{}}}}",
        rf"\caption*{{\textbf{{{escaped(sheet.title)}}} {escaped(sheet.caption)}}} \\",
        r"\toprule",
        header,
        r"\midrule \endhead",
        r"\bottomrule \endfoot",
        *(" & ".join(marked(entry.cells[place]) for place in kept) + r" \\" for entry in sheet.entries),
        r"\end{longtable}",
        *(rf"\noindent\textsuperscript{{{escaped(mark)}}} {escaped(text)}\par" for mark, text in sheet.notes),
        "",
    ]
    return "\n".join(lines)


def marked(cell: Cell) -> str:
    return escaped(cell.text) + (rf"\textsuperscript{{{escaped(cell.signs)}}}" if cell.marks else "")


def escaped(text: str) -> str:
    """Any text with LaTeX's special characters escaped. Characters that Type 1 fonts lack become question marks."""
    plain = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return "".join(SPECIAL.get(char) or (char if char.isascii() or char in LATIN else "?") for char in plain)


LATIN = frozenset("äöüÄÖÜßéèêëàâáåæçñóòôøúùûíìîïÉÈÀÅÆØÇÑ·°§")
