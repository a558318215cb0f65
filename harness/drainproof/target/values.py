"""Values in JSON documents, by JMESPath (https://jmespath.org)."""

from __future__ import annotations

from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError


def find_value(expression: str, document: Any) -> Any:
    """What `expression` leads to in `document`; None where it leads to nothing."""
    try:
        return jmespath.search(expression, document)
    except JMESPathError:  # a function got a value of another type than it takes
        return None
