"""Memory: what the devices have, and what a compiled program takes, by the compiler's own figures."""

from pathlib import Path
from typing import Any, NamedTuple

import jax

CGROUPS = (  # what a container, or a job of a cluster, may take, what it takes, and how much of that are cached files
    ("memory.max", "memory.current", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
)


class Need(NamedTuple):
    """The bytes that a compiled program takes on each device.

    Attributes:
      arguments: of the arrays that it is given and that it returns.
      temporary: of all others.
    """

    arguments: int
    temporary: int

    @property
    def total(self) -> int:
        return self.arguments + self.temporary


def need(compiled: Any) -> Need:
    """What a compiled program takes; 0 if the compiler does not say."""
    figures = compiled.memory_analysis()
    if not figures:
        return Need(0, 0)
    returned = figures.output_size_in_bytes - figures.alias_size_in_bytes
    return Need(figures.argument_size_in_bytes + returned, figures.temp_size_in_bytes)


def there(device: jax.Device) -> int:
    """The bytes of memory that a device has for a run. A CPU has what is available now."""
    stats = device.memory_stats() or {}
    if "bytes_limit" in stats:
        return int(stats["bytes_limit"])
    with open("/proc/meminfo", encoding="utf-8") as file:
        kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in file}
    return min([1024 * kilobytes["MemAvailable"], *left_in_cgroups()])


def left_in_cgroups(folder: Path = Path("/sys/fs/cgroup")) -> list[int]:
    """The bytes that the limits of a container or job leave."""
    left = []
    for limit, used, cached in CGROUPS:
        try:
            most, now = (int((folder / name).read_text("ascii")) for name in (limit, used))
            lines = (folder / limit).with_name("memory.stat").read_text("ascii").splitlines()
        except (OSError, ValueError):  # there is none, or it is "max"
            continue
        files = {name: int(number) for name, _, number in (line.partition(" ") for line in lines)}
        left.append(max(most - now + files.get(cached, 0), 0))
    return left


def words(count: int) -> str:
    """A number of bytes in words.

    >>> [words(count) for count in (31_000_000, 1_540_000_000, 22_000_000_000)]
    ['31 MB', '1.5 GB', '22 GB']
    """
    number, unit = (count / 1e9, "GB") if count >= 1e9 else (count / 1e6, "MB")
    return f"{number:.0f} {unit}" if number >= 10 else f"{number:.1f} {unit}"
