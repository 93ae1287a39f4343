"""From a program to an answer: passes, plan cache, execution, dumps. Knows no tensor and no
model.
"""

from .cache import Stats as Stats
from .derived import Derivation as Derivation
from .derived import Derived as Derived
from .derived import split as split
from .derived import supply as supply
from .derived import watch_derived as watch_derived
from .dump import dump as dump
from .plan import Plan as Plan
from .plan import PlanKey as PlanKey
from .run import PLANS as PLANS
from .run import backend_of as backend_of
from .run import execute as execute
from .run import key_of as key_of
from .run import lower as lower
from .run import passes_of as passes_of
from .run import plan_of as plan_of
from .run import run as run
from .run import settings_of as settings_of
from .source import Argument as Argument
from .source import Computed as Computed
from .source import Data as Data
from .source import Held as Held
from .source import Parameter as Parameter
from .source import replacements as replacements
