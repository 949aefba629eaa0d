"""Addresses of databases, which may hold passwords, as they may be shown."""

import re


def shown(address: str) -> str:
    """An address without its passwords; of a file its path.

    >>> shown("postgresql://me:secret@host/events")
    'postgresql://me:***@host/events'
    """
    kind, there, rest = address.removeprefix("sqlite:///").partition("://")
    person, at, place = rest.rpartition("@")
    rest = re.sub(r"(pass\w*|sslpassword)=[^&]*", r"\1=***", place)
    if at:
        name, colon, _ = person.partition(":")
        rest = f"{name}{':***' if colon else ''}@{rest}"
    return f"{kind.removesuffix('+psycopg')}{there}{rest}"


def first_line(error: BaseException, address: str) -> str:
    """What a database said, in one line without what must not be shown of the address."""
    told = (str(error).strip().splitlines() or [type(error).__name__])[0]
    for secret in _secrets(address):
        told = told.replace(secret, "***")
    return told


def _secrets(address: str) -> list[str]:
    """What of an address must not be shown, and the parts that another reader may take a password for."""
    rest = address.partition("://")[2]
    found = [rest.rpartition("@")[0].partition(":")[2], *(value for _, value in re.findall(r"(pass\w*|sslpassword)=([^&]*)", rest))]
    return [part for secret in found for part in [secret, *secret.split("@")] if part]
