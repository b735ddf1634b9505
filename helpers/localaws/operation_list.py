"""What the embedded AWS answers, from the code that answers it: the page ``docs/operations.md`` and its text.

An operation is *executed* (what it asks for happens: :data:`gateway.OPERATIONS`), *kept as a record* (moto answers:
what was created can be read, changed and deleted, and nothing else comes of it), or refused with ``NotImplemented``.
"""

from __future__ import annotations

import importlib
import inspect
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from moto.core.responses import BaseResponse
from moto.core.utils import camelcase_to_underscores

from . import gateway, operations, protocol, records

WIDTH = 118
INTRODUCTION = """\
# What the embedded AWS answers

<!-- Written by `python -m helpers.localaws operations --markdown`; a test compares this page with the code. -->

`helpers/localaws` answers AWS's API on this machine's loopback, and does what it is asked: jobs train, endpoints serve,
functions run. Point your own SageMaker, Lambda or EC2 code at it, and change nothing in the code:

```sh
python -m helpers.localaws up --record requests.jsonl   # start it, writing every request down
eval "$(python -m helpers.localaws env)"                # any boto3, SageMaker SDK or AWS CLI of this shell now asks it
python my_pipeline.py
python -m helpers.localaws requests requests.jsonl      # what your code asks of AWS: the permissions it needs
python -m helpers.localaws down
```

A call is answered in one of three ways:

- **Executed**: what the call asks for really happens. Its input is checked against AWS's model, its caller's policies
  are evaluated, and its errors are AWS's.
- **Kept as a record**: [moto](https://docs.getmoto.org) answers. What was created can be read, changed and deleted;
  nothing else comes of it. A security group, for example, filters no packet.
- **Refused**: any other call fails with `NotImplemented` (HTTP 501), naming the operation. Nothing is ever answered
  with an empty success. Options of an executed operation that are not done here are refused in the same way.

`LOCALAWS_RECORD=file` in the environment of `up` does what `--record file` does. A line of the file has a request's
time, service, operation, region, caller, status, error, SDK and parameters; contents and secrets are written as sizes.
"""


@dataclass(frozen=True)
class Service:
    """One service's operations, by how they are answered."""

    name: str
    title: str
    executed: tuple[str, ...]
    recorded: tuple[str, ...]
    refused: int


def services() -> list[Service]:
    """Every service that something of is answered, by name."""
    operations.load()
    names = {service for service, _ in gateway.OPERATIONS} | set(records.ANSWERED)
    return [_service(name) for name in sorted(names)]


def _service(name: str) -> Service:
    model = protocol.service_model(name)
    every = sorted(model.operation_names)
    executed = tuple(one for one in every if (name, one) in gateway.OPERATIONS)
    recorded = tuple(one for one in every if one not in executed and records.answers(name, one) and _moto(name, one))
    return Service(name, model.metadata["serviceFullName"], executed, recorded, len(every) - len(executed + recorded))


def _moto(service: str, operation: str) -> bool:
    """Whether moto has an answer of its own: a method, and one that does more than say that it has not."""
    if service == "s3":
        return True  # one method of moto's answers many of S3's operations; what it does not know is in records.EXCEPT
    method = camelcase_to_underscores(operation)
    found = (getattr(one, method, None) for one in _responses(service))
    return any(one is not None and not _refuses(one) for one in found)


@cache
def _responses(service: str) -> list[Any]:
    module = importlib.import_module(f"moto.{service}.responses")
    classes = [one for one in vars(module).values() if inspect.isclass(one) and issubclass(one, BaseResponse)]
    return [one for one in classes if one is not BaseResponse]


def _refuses(method: Any) -> bool:
    body = [line.strip() for line in inspect.getsource(method).splitlines() if line.strip()]
    return body[-1].startswith("raise NotImplementedError") and len(body) < 8


def markdown() -> str:
    """The page."""
    found = services()
    return "\n".join([INTRODUCTION, *_overview(found), "", *(line for one in found for line in _section(one))])


def _overview(found: Iterable[Service]) -> Iterator[str]:
    yield from ("| service | executed | kept as records | refused |", "|---|--:|--:|--:|")
    for one in found:
        yield f"| [{one.name}](#{one.name}) | {len(one.executed)} | {len(one.recorded)} | {one.refused} |"


def _section(service: Service) -> Iterator[str]:
    yield from (f"## {service.name}", "", f"{service.title}: {service.refused} other operations are refused.", "")
    for heading, names in (("Executed", service.executed), ("Kept as records", service.recorded)):
        if names:
            yield from (f"**{heading} ({len(names)})**: {_wrapped(names)}", "")


def _wrapped(names: Iterable[str]) -> str:
    return "\n".join(textwrap.wrap(", ".join(f"`{name}`" for name in names), WIDTH, break_long_words=False))


def text() -> str:
    """A line a service and way, for a terminal."""
    lines = []
    for one in services():
        for heading, names in (("executed", one.executed), ("records", one.recorded)):
            lines += [f"{one.name} {heading}: {' '.join(names)}"] if names else []
    return "\n".join(lines) + "\n"


__all__ = ["Service", "markdown", "services", "text"]
