"""Requests made from the server's own document (OpenAPI), right and wrong ones: each gets an answer that the document names, soon, and that tells
nothing of the inside or of people who were not asked about. GATEREC_REQUESTS=10000 asks so many.
"""

import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import hypothesis
import hypothesis.strategies as st
import pytest
import requests
import schemathesis
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.support.servers import Running, serving

pytestmark = pytest.mark.slow

REQUESTS = int(os.environ.get("GATEREC_REQUESTS", "300"))
HANGS = 10.0
"""Seconds after which no answer is a fault."""
KNOWN = {"user": ["u7", "u12", "somebody"], "item": ["i3", "i7", "i19"]}
INSIDE = re.compile(r"Traceback|File \"|site-packages|\.py\b|line \d+, in|0x[0-9a-f]{6,}|\b[A-Z]\w*(?:Error|Exception|Warning)\b")
PERSON = re.compile(r"\bu\d{1,2}\b")


@pytest.fixture(scope="module")
def server(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(run_folder, tmp_path_factory.mktemp("schema") / "events.db", "--watch=0") as running:
        yield running


def with_known_ids(part: Any, name: str = "") -> Any:
    """A part of the document that lets requests have no other ids than the run has, so that they get far; answers as they are."""
    if name == "schemas":
        return {kind: with_known_ids(one) if kind.endswith("Request") else one for kind, one in part.items()}
    if isinstance(part, list):
        return [with_known_ids(one, name) for one in part]
    if not isinstance(part, dict):
        return part
    if name == "where":
        return {"enum": [{}, {"kind": "funny"}, {"title": "Film 7"}]}
    if name in KNOWN and (part.get("anyOf") or part.get("type") == "string"):
        return {"enum": KNOWN[name]}
    if name in ("history", "deny", "allow"):
        return {"type": "array", "items": {"enum": KNOWN["item"]}, "maxItems": 30}
    schema = part.get("schema")
    found = {key: with_known_ids(one, key) for key, one in part.items()}
    return found if schema is None else {**found, "schema": with_known_ids(schema, part.get("name", ""))}


def asks(operation: Any) -> bool:
    """Whether it has anything that could be right or wrong."""
    return bool(operation.body or operation.query or operation.path_parameters)


def sent(answered: Any) -> str:
    """All that a request said, in the forms in which an answer could say it again."""
    body = answered.body or b""
    text = body if isinstance(body, str) else body.decode("utf-8", "replace")
    plain = ""
    with suppress(ValueError):
        plain = repr(json.loads(text))
    return f"{answered.url} {unquote(answered.url)} {text} {plain}"


def check_that_nothing_leaks(text: str, asked: str, path: str, place: Path) -> None:
    """Nothing of the inside of the server, and no person but those whom the request named."""
    leaks = [found.group() for found in INSIDE.finditer(text) if found.group() not in asked]
    assert not leaks, (leaks, asked, text)
    assert str(place) not in text
    if path != "/users":
        assert not [person for person in PERSON.findall(text) if person not in asked], (asked, text)


def test_every_answer_is_one_of_the_documents(server: Running, run_folder: Path) -> None:
    document = requests.get(f"{server.address}/openapi.json", timeout=HANGS).json()
    known, declared = (
        [
            operation
            for found in schemathesis.openapi.from_dict(form).get_all_operations()
            if isinstance(found, Ok) and (operation := found.ok())
        ]
        for form in (with_known_ids(document), document)
    )
    assert len(known) > 12
    statuses: Counter[tuple[str, int]] = Counter()
    session = requests.Session()

    def try_out(operation: Any, mode: GenerationMode, examples: int) -> None:
        @hypothesis.settings(
            max_examples=examples,
            deadline=None,
            database=None,
            derandomize="GATEREC_REQUESTS" not in os.environ,
            suppress_health_check=list(hypothesis.HealthCheck),
            phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink],
        )
        @hypothesis.given(st.data())
        def one(data: st.DataObject) -> None:
            case = data.draw(operation.as_strategy(generation_mode=mode))
            answer = case.call(base_url=server.address, session=session, timeout=HANGS)
            statuses[operation.label, answer.status_code] += 1
            if answer.status_code == 503:
                assert answer.headers["retry-after"]
                return
            checks = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
            checks += [response_headers_conformance, negative_data_rejection]
            case.validate_response(answer, checks=checks)
            asked = sent(answer.request)
            check_that_nothing_leaks(answer.text, asked, operation.path, run_folder)

        one()

    for operation in known:
        try_out(operation, GenerationMode.POSITIVE, REQUESTS // 25 if asks(operation) else max(1, REQUESTS // 100))
    for operation in filter(asks, declared):
        try_out(operation, GenerationMode.POSITIVE, REQUESTS // 25)
        try_out(operation, GenerationMode.NEGATIVE, REQUESTS // 25)
    print(f"{statuses.total():,} requests: {dict(statuses)}")
    for operation in known:
        assert statuses[operation.label, 201 if operation.path == "/events" else 200], f"no right request of {operation.label}"
    for operation in filter(asks, declared):
        assert statuses[operation.label, 422] or statuses[operation.label, 404], f"no wrong request of {operation.label}"
    assert requests.get(f"{server.address}/ready", timeout=HANGS).status_code == 200
