"""The one rule for names of variants, tasks and protocols, which stand in configurations, records and file names."""

import re

NAME = re.compile(r"[A-Za-z]\w{0,63}", re.ASCII)
RULE = "take at most 64 letters, digits and _, a letter first, as in my_attention"


def is_name(name: object) -> bool:
    """Whether something may be the name of a variant, a task or a protocol."""
    return isinstance(name, str) and NAME.fullmatch(name) is not None
