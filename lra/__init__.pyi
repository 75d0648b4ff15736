from lra.api import Plan as Plan
from lra.api import RunSpec as RunSpec
from lra.api import board as board
from lra.api import build_model as build_model
from lra.api import check as check
from lra.api import load_task as load_task
from lra.api import prepare as prepare
from lra.api import records as records
from lra.api import register_attention as register_attention
from lra.api import resolve as resolve
from lra.api import rows as rows
from lra.api import run as run
from lra.api import sweep as sweep

__version__: str
