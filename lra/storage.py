"""Where results may lie: in a local folder, or in a storage of objects under an address such as s3://bucket/folder."""

import re
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, TypeGuard, cast

from lra.errors import UsageError

if TYPE_CHECKING:
    from lra.remote import Remote

ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/(/?)(.*)", re.IGNORECASE)


def path_of(text: str | PurePath) -> Path:
    """The path of a local folder, or of one in a storage of objects.

    Raises:
      UsageError: it is an address of another kind.
    """
    if not (address := ADDRESS.fullmatch(str(text))):
        return Path(text)
    from lra.remote import PACKAGES, Remote  # only here: it takes a tenth of a second

    scheme, slash, rest = address.groups()
    if not (slash or scheme in PACKAGES):  # pathlib makes one slash of two
        return Path(text)
    if scheme not in PACKAGES or not rest.strip("/"):
        raise UsageError(f"{text} is no place for files; name a local folder, s3://BUCKET/FOLDER or gs://BUCKET/FOLDER")
    return cast(Path, Remote(f"{scheme}://{rest}"))


def is_remote(path: PurePath) -> "TypeGuard[Remote]":
    """Whether a path is in a storage of objects."""
    return not isinstance(path, Path)
