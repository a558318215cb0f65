"""`sys`, `platform`, `sysconfig`: what the target takes for its platform, and how an interpreter ends on Ctrl-C."""

from __future__ import annotations

import atexit
import os
import platform
import sys
import sysconfig
from collections import namedtuple
from typing import Any

from drainproof_shim.windows import names
from drainproof_shim.windows.overlay import overlay

RELEASE, BUILD = "10", 19045
VERSION = "10.0.{}".format(BUILD)

CONTROL_C_EXIT = 0x3A
"""What Linux shows of STATUS_CONTROL_C_EXIT (0xC000013A): its lowest byte."""

_WindowsVersion = namedtuple("_WindowsVersion", "major minor build platform service_pack")


class WindowsVersion(_WindowsVersion):
    """What `sys.getwindowsversion()` returns."""

    service_pack_major = 0
    service_pack_minor = 0
    suite_mask = 0x100
    product_type = 1
    platform_version = (10, 0, BUILD)


def _uname(*_: Any, **__: Any) -> platform.uname_result:
    return platform.uname_result("Windows", os.uname().nodename, RELEASE, VERSION, "AMD64")


def install() -> None:
    """Shows the target its platform, and has an interpreter that dies of Ctrl-C end as on Windows."""
    overlay(
        sys,
        fake={
            "platform": "win32",
            "getwindowsversion": lambda: WindowsVersion(10, 0, BUILD, 2, ""),
            "winver": "{}.{}".format(*sys.version_info[:2]),
            "dllhandle": 0x7FF800000000,
        },
        hidden=names.SYS,
    )
    answers = {
        "system": "Windows",
        "release": RELEASE,
        "version": VERSION,
        "machine": "AMD64",
        "processor": "Intel64 Family 6 Model 85 Stepping 7, GenuineIntel",
        "platform": "Windows-{}-{}-SP0".format(RELEASE, VERSION),
        "architecture": ("64bit", "WindowsPE"),
        "libc_ver": ("", ""),
        "win32_ver": (RELEASE, VERSION, "SP0", "Multiprocessor Free"),
        "win32_edition": "Professional",
        "win32_is_iot": False,
    }
    fake = {name: _answering(name, answer) for name, answer in answers.items()}
    overlay(platform, fake={**fake, "uname": _uname})
    overlay(sysconfig, fake={"get_platform": _answering("get_platform", "win-amd64")})
    atexit.register(_end)


def _answering(name: str, answer: Any) -> Any:
    def function(*_: Any, **__: Any) -> Any:
        return answer

    function.__name__ = function.__qualname__ = name
    return function


def _end() -> None:
    """Registered first, so called last: everything that the target does at its exit has been done by now.

    The interpreter would go on to kill itself with SIGINT after a KeyboardInterrupt that nobody caught.
    """
    unhandled = getattr(sys, "last_type", None)
    if unhandled is not None and issubclass(unhandled, KeyboardInterrupt):
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:
                pass
        os._exit(CONTROL_C_EXIT)
