"""Every variable that the project reads: name, type, default, help.

This package owns the environment: nothing else in the project reads ``os.environ``, except for tests and the servers of
``stream.local``. ``types`` parses values; ``kafka``, ``database``, ``partners``, ``crm``, ``producers`` and ``worker``
declare the variables; ``model`` joins them to ``Settings``; ``loading`` reads them and reports all faults together;
``names`` finds misspelt and removed variables.

Each secret ``NAME`` may instead be given as ``NAME_FILE``, the path of a file that holds it.
"""

from stream.settings.loading import examine, load
from stream.settings.model import SECRET_NAMES, Settings
from stream.settings.names import REMOVED, removed, slips
from stream.settings.producers import DEMO_C2S_TOKEN, DEMO_GOOGLE_KEY, DEMO_SECRETS, DEMO_WEBHOOK_SECRETS
from stream.settings.types import MAX_DELAYS, PARTNERS, UNLIMITED, calls_of

__all__ = [
    "DEMO_C2S_TOKEN",
    "DEMO_GOOGLE_KEY",
    "DEMO_SECRETS",
    "DEMO_WEBHOOK_SECRETS",
    "MAX_DELAYS",
    "PARTNERS",
    "REMOVED",
    "SECRET_NAMES",
    "UNLIMITED",
    "Settings",
    "calls_of",
    "examine",
    "load",
    "removed",
    "slips",
]
