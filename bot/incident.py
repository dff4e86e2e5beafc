"""One policy for errors: what a person can mend is shown as it is; anything else gets a number and a log entry.

Knows which errors are whose. Does not know where the sentence is shown.
"""

from __future__ import annotations

import logging
import secrets

from storage.errors import DreambotError, StorageError, StoreBusy, StoreFull, StoreMoved

log = logging.getLogger(__name__)

SHOWN = (StoreBusy, StoreFull, StoreMoved)  # ours, but the person can wait, make room or look there


def sentence(error: BaseException) -> str:
    """What the person is told; what they cannot mend is logged with its traceback."""
    if isinstance(error, DreambotError) and (isinstance(error, SHOWN) or not isinstance(error, StorageError)):
        return str(error)
    number = secrets.token_hex(3)
    log.error("incident #%s", number, exc_info=error)
    return f"Something broke; we have it as #{number}."
