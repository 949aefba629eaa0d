"""Requests made from the server's own document (OpenAPI), right and wrong ones, and bytes that are no HTTP: each gets an answer that the document
names, quickly, and that tells nothing of the inside or of people who were not asked about. GATEREC_REQUESTS=10000 asks so many.
"""

import json
import os
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest
import requests
import schemathesis
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.servers import Running, serving

REQUESTS = int(os.environ.get("GATEREC_REQUESTS", "400"))
HANGS = 10.0
"""Seconds after which no answer is a fault."""
KNOWN = ["i3", "i7", "u7", "u12"]
INSIDE = re.compile(r"Traceback|File \"|site-packages|\.py\b|line \d+, in|0x[0-9a-f]{6,}|\b[A-Z]\w*(?:Error|Exception|Warning)\b")
PERSON = re.compile(r"\bu\d{1,2}\b")
ABOUT_PEOPLE = ("/people", "/person")


@pytest.fixture(scope="module")
def server(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(run_folder, tmp_path_factory.mktemp("schema") / "events.db", "--watch=0") as running:
        yield running


def with_known_ids(document: Any) -> Any:
    """The document, in which every id may be one that the run has: the same requests are right, and many more of them get far."""
    if isinstance(document, list):
        return [with_known_ids(part) for part in document]
    if not isinstance(document, dict):
        return document
    found = {name: with_known_ids(part) for name, part in document.items()}
    if found.get("maxLength") == 512:
        return {"anyOf": [{"enum": KNOWN}, found]}
    return found


def asks(operation: Any) -> bool:
    """Whether it has anything that could be right or wrong."""
    return bool(operation.body or operation.query or operation.path_parameters)


def sent(answered: Any) -> str:
    """All that a request said, in the forms in which an answer could say it again."""
    body = answered.body or b""
    text = body if isinstance(body, str) else body.decode("utf-8", "replace")
    plain = ""
    try:
        plain = repr(json.loads(text))
    except ValueError:
        pass
    return f"{answered.url} {requests.utils.unquote(answered.url)} {text} {plain}"


def check_that_nothing_leaks(text: str, asked: str, path: str, place: Path) -> None:
    """Nothing of the inside of the server, and no person but those whom the request named."""
    leaks = [found.group() for found in INSIDE.finditer(text) if found.group() not in asked]
    assert not leaks, (leaks, asked, text)
    assert str(place) not in text
    if not path.startswith(ABOUT_PEOPLE):
        assert not [person for person in PERSON.findall(text) if person not in asked], (asked, text)


def test_every_answer_is_one_of_the_documents(server: Running, run_folder: Path) -> None:
    document = requests.get(f"{server.address}/openapi.json", timeout=HANGS).json()
    right, wrong = (
        [found.ok() for found in schemathesis.openapi.from_dict(form).get_all_operations()] for form in (with_known_ids(document), document)
    )
    assert len(right) > 12
    count = 0
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
            nonlocal count
            case = data.draw(operation.as_strategy(generation_mode=mode))
            count += 1
            answer = case.call(base_url=server.address, session=session, timeout=HANGS)
            if answer.status_code == 503:
                assert answer.headers["retry-after"]
                return
            checks = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
            checks += [response_headers_conformance, negative_data_rejection]
            case.validate_response(answer, checks=checks)
            asked = sent(answer.request)
            check_that_nothing_leaks(answer.text, asked, operation.path, run_folder)

        one()

    for operation in right:
        try_out(operation, GenerationMode.POSITIVE, REQUESTS // 20 if asks(operation) else max(1, REQUESTS // 100))
    for operation in wrong:
        if asks(operation):
            try_out(operation, GenerationMode.NEGATIVE, REQUESTS // 20)
    print(f"{count:,} requests")
    assert requests.get(f"{server.address}/ready", timeout=HANGS).status_code == 200
