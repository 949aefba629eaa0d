"""Notes of an answer: what was left out of a request, and which users no item is left for."""

from collections.abc import Sequence

from gaterec.inference.users import RequestUser

MAX_NAMED = 5
"""The most items, or users, that a note names."""


def history_notes(users: Sequence[RequestUser]) -> list[str]:
    """Notes of the items that were left out of histories; of many users a few are named."""
    incomplete = [(row, user) for row, user in enumerate(users) if user.left_out]
    notes = []
    for row, user in incomplete[:MAX_NAMED]:
        whose = f"user {user.id!r:.80}: " if user.id is not None else f"history {row + 1}: " if len(users) > 1 else "history: "
        which = "which is" if len(user.left_out) == 1 else "which are"
        then = "" if len(user.items) else "; nothing of the history is left, so the user is treated as one without a history"
        notes.append(f"{whose}the run does not know {named(user.left_out, 'item')} of the history, {which} left out{then}")
    if len(incomplete) > MAX_NAMED:
        notes.append(
            f"the histories of {len(incomplete) - MAX_NAMED:,} more users have items that the run does not know and that are left out"
        )
    return notes


def empty_note(ids: Sequence[str | None]) -> str:
    """Which users no item is left for."""
    users = "" if None in ids else f" to {named(ids, 'user')}"
    return f"no item is left to recommend{users}: all are in the history, denied, not allowed, or do not meet the conditions"


def named(ids: Sequence[str | None], one: str) -> str:
    """
    >>> named(["a"], "item"), named(list("abcdefg"), "item")
    ("item 'a'", "items 'a', 'b', 'c', 'd', 'e' and 2 others")
    """
    more = f" and {len(ids) - MAX_NAMED:,} other{'s' * (len(ids) > MAX_NAMED + 1)}" if len(ids) > MAX_NAMED else ""
    return f"{one if len(ids) == 1 else one + 's'} {', '.join(f'{name!r:.80}' for name in ids[:MAX_NAMED])}{more}"
