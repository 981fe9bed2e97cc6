"""Reading what a pgTAP script printed."""

from __future__ import annotations

import re

PLAN = re.compile(r"^1\.\.(\d+)", re.MULTILINE)


def complaints(output: str) -> list[str]:
    """What is wrong with a TAP report; nothing if the script passed. A script that stopped half
    way prints no failure, so the plan must be there and be met."""
    found = re.findall(r"^not ok\b(?!.*# TODO).*", output, re.MULTILINE)
    ran = len(re.findall(r"^(?:not )?ok\b", output, re.MULTILINE))
    plan = PLAN.search(output)
    if plan is None:
        found.append("no plan: does the script call plan() or no_plan(), and finish()?")
    elif int(plan[1]) != ran:
        found.append(f"planned {plan[1]} tests but ran {ran}")
    return found
