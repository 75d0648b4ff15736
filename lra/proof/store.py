"""What was proven on this machine, kept under LRA_HOME so that the next run need not prove it again.

LRA_HOME/kernels/MACHINE.json     MACHINE is a hash of device, driver, versions and the source of the kernels
"""

import importlib.util
import json
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lra import environment, settings
from lra.errors import UserError
from lra.files import locked, sha256_text, sha256_texts, write_atomically
from lra.proof.call import Call
from lra.proof.verdict import Proof, as_json, from_json
from lra.tasks.prepared import home

LIBRARIES = ("jax", "jaxlib", "jax-cuda12-plugin", "jax-cuda13-plugin", "libtpu", "nvidia-cudnn-cu12", "tokamax")
SOURCES = ("lra.models.kernels", "lra.proof")  # packages
RETRIED = "out of memory"  # a reason that may be of the moment: it is not kept


def machine() -> dict[str, Any]:
    """What a proof holds for: device, driver, versions, and a hash of the source of the kernels."""
    device = settings.device()
    return {
        **environment.hardware(),
        "driver": " ".join(str(device.client.platform_version).split()),
        "versions": {name: installed for name in LIBRARIES if (installed := version_of(name))},
        "kernels_sha256": source_sha256(),
    }


def version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@cache
def source_sha256() -> str:
    """The hash of all modules of SOURCES."""
    texts: dict[str, str] = {}
    for package in SOURCES:
        spec = importlib.util.find_spec(package)
        assert spec
        for folder in map(Path, spec.submodule_search_locations or ()):
            paths = sorted(folder.rglob("*.py"))
            texts |= {f"{package}/{path.relative_to(folder)}": path.read_text("utf-8") for path in paths}
    return sha256_texts(texts)


def path_of(facts: Mapping[str, Any]) -> Path:
    """The file of what was proven on a machine."""
    return home() / "kernels" / f"{sha256_text(json.dumps(facts, sort_keys=True))[:16]}.json"


def name_of(call: Call) -> str:
    """The name of a call in the file. An op that is not the project's own counts with its module's source."""
    if call.module.startswith(SOURCES):
        return call.key
    return sha256_text(call.key + Path(str(sys.modules[call.module].__file__)).read_text("utf-8"))[:16]


def load(facts: Mapping[str, Any]) -> dict[str, Proof]:
    """All that was proven on a machine, by the names of calls. A file that cannot be read counts as none."""
    try:
        content = json.loads(path_of(facts).read_bytes())
        return {name: from_json(proof) for name, proof in content["proofs"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, UserError):
        return {}


def keep(facts: Mapping[str, Any], proofs: Mapping[str, Proof]) -> str:
    """Adds proofs to a machine's file. Returns why that failed; empty if it did not."""
    lasting = {name: proof for name, proof in proofs.items() if not of_the_moment(proof.verdicts)}
    try:
        path = path_of(facts)
        with locked(path, "kernels are being proven"):
            all_proofs = load(facts) | lasting
            content = {"machine": facts, "proofs": {name: as_json(proof) for name, proof in all_proofs.items()}}
            write_atomically(path, json.dumps(content, indent=1) + "\n")
    except UserError as error:
        return str(error)
    return ""


def of_the_moment(verdicts: Iterable[Any]) -> bool:
    return any(RETRIED in verdict.reason for verdict in verdicts)
