"""Whether a name is that of a credential. It goes by whole words, so that a tokenizer is none."""

from __future__ import annotations

import itertools
import re

WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")

_ALWAYS_WORDS = """
token tokens secret secrets password passwords passwd passphrase apikey apikeys authorization cookie cookies credential
credentials creds privatekey accesskey secretkey jwt sshpass
"""

ALWAYS = frozenset(_ALWAYS_WORDS.split())
"""Words that make a name one of a credential, wherever they stand."""

ENDINGS = ("password", "passwd", "apikey", "authtoken", "accesstoken", "secretkey", "privatekey", "accesskey")
"""What does so at the end of a word: `PGPASSWORD`."""

LAST = frozenset({"key", "pass", "pwd", "auth", "pat"})
"""Those that do so at the end, behind another word: `STRIPE_KEY`, but not `KEY` and not `PWD`."""

PAIRS = frozenset(
    {("api", "key"), ("access", "key"), ("private", "key"), ("secret", "key"), ("auth", "config")}
    | {("api", "keys"), ("access", "keys"), ("private", "keys"), ("secret", "keys"), ("connection", "string")}
)
"""Words beside each other that do so wherever they stand: `AWS_ACCESS_KEY_ID`."""

_ABOUT_WORDS = """
file path dir folder url uri endpoint name type ttl length size count limit max min timeout expiry expires algorithm
host port region enabled
"""

ABOUT = frozenset(_ABOUT_WORDS.split())
"""Last words of a name that speaks of a credential without being one: `PASSWORD_FILE`, `TOKEN_LIMIT`."""

_TEXT_WORDS = """
max min num n new total input output prompt completion stop eos bos pad unk sep cls mask special start end
"""

OF_TEXT = frozenset(_TEXT_WORDS.split())
"""Words right before `token` or `tokens` that make it a piece of text: `MAX_TOKENS`, `EOS_TOKEN`."""


def names_a_secret(name: str) -> bool:
    """Whether the value of a variable, header or option of that name is to be taken for a secret."""
    words = [word.lower() for word in WORD.findall(name)]
    while words and words[-1].isdigit():  # DB_PASS2
        words.pop()
    if not words or words[-1] in ABOUT:
        return False
    if words[-1] in ("token", "tokens") and len(words) > 1 and words[-2] in OF_TEXT:
        return False
    if not ALWAYS.isdisjoint(words) or not PAIRS.isdisjoint(itertools.pairwise(words)):
        return True
    return any(word.endswith(ENDINGS) for word in words) or (len(words) > 1 and words[-1] in LAST)
