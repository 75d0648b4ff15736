"""The texts of files, and of the cells of notebooks."""

import linecache
from pathlib import Path


def text_of(file: str | Path) -> str | None:
    """The text of a file, or of a cell of a notebook; None if there is none, as of what was typed at a prompt."""
    try:
        return Path(file).read_bytes().decode()
    except (OSError, ValueError):  # a cell, no file at all, or text in the encoding that it declares
        linecache.checkcache(str(file))
        return "".join(linecache.getlines(str(file))) or None


class Texts:
    """The texts of the modules beside an imported file, each as it was when it was first read.

    Attributes:
      root: the folder above all packages that the file is in.
      package: the name in `sys.modules` of the package that stands for this folder.
      read: the texts by file.
      known: the files that were read when the imported file had run; functions may import others later.
    """

    def __init__(self, root: Path, package: str):
        self.root, self.package = root, package
        self.read: dict[str, str | None] = {}
        self.known: frozenset[str] = frozenset()

    def __getitem__(self, file: str) -> str | None:
        if file not in self.read:
            self.read[file] = text_of(file)
        return self.read[file]

    def changed(self) -> str | None:
        """The first file that has another text now; None if there is none."""
        return next((file for file, text in self.read.items() if text_of(file) != text), None)
