"""Notes of an answer: what was left out of a request, and whom no item is left for."""

from collections.abc import Sequence

from gaterec.inference.users import Person

NAMED = 5
"""So many items, or users, are named in a note at most."""


def history_notes(people: Sequence[Person]) -> list[str]:
    """What was left out of whose history; of many users a few are named."""
    told = [(place, person) for place, person in enumerate(people) if person.left_out]
    notes = []
    for place, person in told[:NAMED]:
        whose = f"user {person.id!r:.80}: " if person.id is not None else f"history {place + 1}: " if len(people) > 1 else "history: "
        which = "which is" if len(person.left_out) == 1 else "which are"
        then = "" if len(person.items) else "; nothing of the history is left, so the user is treated as one without a history"
        notes.append(f"{whose}the run does not know {named(person.left_out, 'item')} of the history, {which} left out{then}")
    if len(told) > NAMED:
        notes.append(f"the histories of {len(told) - NAMED:,} more users have items that the run does not know and that are left out")
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
    more = f" and {len(ids) - NAMED:,} other{'s' * (len(ids) > NAMED + 1)}" if len(ids) > NAMED else ""
    return f"{one if len(ids) == 1 else one + 's'} {', '.join(f'{name!r:.80}' for name in ids[:NAMED])}{more}"
