"""How test metrics were made, in sentences that are printed beside them."""

import numpy as np

from gaterec.config.settings import Settings
from gaterec.data.interactions import Interactions
from gaterec.data.split import EvalQueries


def describe_protocol(settings: Settings, interactions: Interactions, cases: EvalQueries) -> list[str]:
    """How the test figures were made, in sentences that stand beside them."""
    protocol = settings.eval_args
    ((kind, how),) = protocol.split.items()
    shares = "" if kind == "LS" else "/".join(f"{100 * share / sum(how):g}" for share in how)
    order = (
        "in random order" if protocol.order == "RO" else "by time" if interactions.timed else "in the order of the file (it has no times)"
    )
    cut = {
        "LS": f"leave-one-out ({how}), each user's events {order}",
        "RS": f"{shares} {order}, " + ("of each user's events" if protocol.group_by else "of all events together"),
        "TS": f"{shares} {order}, test is what came after one moment for all",
    }[kind]
    mode, valid_mode = protocol.mode["test"], protocol.mode["valid"]

    def candidates(mode: str) -> str:
        return (
            f"the whole catalogue of {len(interactions.items) - 1:,} items"
            if mode == "full"
            else f"{mode[3:]} items drawn with replacement ({mode})"
        )

    asked = (
        "the next item before each held-out event" if protocol.target == "next" else "all held-out items, once at the end of the history"
    )
    people = len(np.unique(cases.user))
    lines = [
        f"Split: {cut}.",
        f"Asked: {asked}; {len(cases):,} queries of {people:,} people, {len(cases.relevant):,} right answers.",
        f"Ranked: {'full: ' if mode == 'full' else ''}{candidates(mode)}; items seen before are {'kept' if settings.repeatable else 'left out'}.",
    ]
    if valid_mode != mode:
        lines.append(f"Ranked in validation, for early stopping: {candidates(valid_mode)}.")
    if mode != "full":
        lines.append("Warning: metrics on drawn items mislead; they can put models in another order than the full ranking does.")
    if cases.skipped:
        lines.append(f"Left out: {cases.skipped:,} held-out events with no earlier event of the same person.")
    return lines
