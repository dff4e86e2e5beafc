"""Where a reply goes on Discord: the adapter's own words in a job's `reply_to`.

Knows how an address is written and read. An interaction's token is a secret and dies after 15 minutes, so it stands in
an address only where there is no other way: where the bot is not in the channel but was brought along by a person.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

FILE_LIMIT = 10 << 20  # bytes a file, where nobody has told us better


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A channel, and the message in it that shows the job, once it is known."""

    interaction: int
    channel: int
    application: int
    message: int | None = None
    nsfw: bool = False  # the channel is age-restricted: nothing needs to be covered
    limit: int = FILE_LIMIT
    token: str | None = None

    @classmethod
    def read(cls, text: str) -> Address:
        """The inverse of `write`; ValueError for what this adapter never wrote."""
        try:
            return cls(**json.loads(text))
        except TypeError as error:
            raise ValueError(f"not an address on Discord: {error}") from None

    def write(self) -> str:
        """One line of JSON."""
        return json.dumps({name: value for name, value in asdict(self).items() if value is not None})
