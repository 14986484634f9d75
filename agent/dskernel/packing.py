"""Messages as bytes, also those with text that has no encoding."""

from __future__ import annotations

import json

from jupyter_client.jsonutil import json_default


class Tolerant:
    """A packer that writes U+FFFD for half a surrogate pair, at which jupyter_client's loses the message.

    A Python string may hold one: "\\ud800" in the code, a file name that is no UTF-8, what a JSON file says.
    """

    def __init__(self, pack) -> None:
        self._pack = pack

    def __call__(self, message: object) -> bytes:
        try:
            return self._pack(message)
        except UnicodeEncodeError:
            text = json.dumps(message, default=json_default, ensure_ascii=False)
            # In UTF-16 two halves that belong together are a character.
            return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()
