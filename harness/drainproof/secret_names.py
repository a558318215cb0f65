"""Whether a name is that of a credential. It goes by whole words, so that a tokenizer is none."""

from __future__ import annotations

import itertools
import re

WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")

_ALWAYS_WORDS = """
token tokens secret secrets password passwords passwd passphrase apikey authorization cookie cookies credential
credentials privatekey accesskey
"""

ALWAYS = frozenset(_ALWAYS_WORDS.split())
"""Words that make a name one of a credential, wherever they stand."""

LAST = frozenset({"key", "pass", "pwd", "auth"})
"""Those that do so at the end, behind another word: `STRIPE_KEY`, but not `KEY` and not `PWD`."""

PAIRS = frozenset({("api", "key"), ("access", "key"), ("private", "key"), ("secret", "key")})
"""Words beside each other that do so wherever they stand: `AWS_ACCESS_KEY_ID`."""

_ABOUT_WORDS = """
file path dir folder url uri endpoint name type ttl length size count limit max min timeout expiry expires algorithm
host port region enabled
"""

ABOUT = frozenset(_ABOUT_WORDS.split())
"""Last words of a name that speaks of a credential without being one: `PASSWORD_FILE`, `TOKEN_LIMIT`."""


def names_a_secret(name: str) -> bool:
    """Whether the value of a variable, header or option of that name is to be taken for a secret."""
    words = [word.lower() for word in WORD.findall(name)]
    if not words or words[-1] in ABOUT:
        return False
    if not ALWAYS.isdisjoint(words) or not PAIRS.isdisjoint(itertools.pairwise(words)):
        return True
    return len(words) > 1 and words[-1] in LAST
