"""Arms faults: their sites are found and wrapped as the modules are imported."""

from __future__ import annotations

import os
from types import ModuleType
from typing import Sequence

from drainproof_shim import channel, loops, named, requests, waiting
from drainproof_shim.gates import Gate
from drainproof_shim.imports import when_imported
from drainproof_shim.plan import Fault
from drainproof_shim.sites import Missing, Site
from drainproof_shim.trigger import Trigger


def arm(faults: Sequence[Fault]) -> None:
    """Arms the faults in this interpreter. What cannot be armed is reported, and leaves the others alone."""
    triggers = [Trigger(fault) for fault in faults]

    def forked() -> None:
        channel.inside.clear()  # of threads that are not here
        waiting.forked()
        for trigger in triggers:
            trigger.forked()

    def forking() -> None:
        for trigger in triggers:
            trigger.forking()

    os.register_at_fork(before=forking, after_in_child=forked)
    for trigger in triggers:
        if trigger.fault.paths is not None:
            requests.follow()
        for site in trigger.fault.sites:
            try:
                if site.startswith("@"):
                    named.arm(trigger, site)
                else:
                    _arm(trigger, site)
            except Exception as problem:
                channel.trouble("cannot arm {!r} at {}".format(trigger.fault.name, site), problem)


def _arm(trigger: Trigger, site: str) -> None:
    """A site that somebody wrote: `module:qualified.name`."""
    module, colon, name = site.partition(":")
    if not (module and colon and name):
        channel.report(
            "missing",
            fault=trigger.fault.name,
            site=site,
            module=module,
            name=name,
            near=[],
            because="a place is written module:qualified.name",
        )
        return

    def hook(imported: ModuleType) -> None:
        try:
            found = Site(imported, name)
            gate = Gate(trigger, site, function=found.function, strikes=found.is_coroutine)
            found.wrap(gate.enter, gate.leave)
        except Missing as missing:
            channel.report(
                "missing",
                fault=trigger.fault.name,
                site=site,
                module=missing.module or module,
                name=name,
                near=missing.near,
                because=missing.because,
            )
            return
        named.armed(trigger, site, imported)

    if module == "__main__":
        loops.when_main_is_complete(hook)
    else:
        when_imported(module, hook)
