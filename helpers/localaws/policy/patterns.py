"""Texts with wildcards and policy variables, and what they match.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from .context import Context

ARN_COLONS = 5  # between an ARN's six parts
_TOKEN = re.compile(r"\$\{(?P<name>[^},]*)(?:,\s*'(?P<default>[^']*)')?\s*\}|(?P<wildcard>[*?])|(?P<text>[^*?$]+|\$)")
_ESCAPES = {"*": "*", "?": "?", "$": "$"}


@dataclass(frozen=True)
class Variable:
    """``${aws:username}``, with its default if it has one."""

    key: str
    default: str | None


@dataclass(frozen=True)
class Wildcard:
    """``*`` or ``?``."""

    sign: str


@dataclass(frozen=True)
class Pattern:
    """A policy's text, cut into plain parts, wildcards and variables."""

    source: str
    parts: tuple[str | Wildcard | Variable, ...]

    def text(self, context: Context) -> str | None:
        """The text with its variables replaced and its wildcards as they are written; None if a variable has no value.

        For operators that know no wildcards (``StringEquals``).
        """
        texts = []
        for part in self.parts:
            text = _resolve(part, context) if isinstance(part, Variable) else part
            if text is None:
                return None
            texts.append(text.sign if isinstance(text, Wildcard) else text)
        return "".join(texts)

    def matches(self, value: str, context: Context) -> bool:
        """Whether ``value`` fits, ``*`` standing for any characters (``StringLike``)."""
        return self._fits(value, context, "text")

    def matches_arn(self, value: str, context: Context) -> bool:
        """Whether an ARN fits, its six parts compared one by one (``ArnLike``)."""
        return self._fits(value, context, "arn")

    def matches_resource(self, value: str, context: Context) -> bool:
        """Whether a resource fits a ``Resource`` element.

        A wildcard stays within its part of the ARN unless it ends that part; missing parts are wildcards.
        """
        return self._fits(value, context, "resource")

    def _fits(self, value: str, context: Context, kind: str) -> bool:
        resolved: list[str | Wildcard] = []
        for part in self.parts:
            one = _resolve(part, context) if isinstance(part, Variable) else part
            if one is None:
                return False
            resolved.append(one)
        return _compiled(tuple(resolved), kind).fullmatch(value) is not None


@functools.lru_cache(16_384)
def pattern(source: str, *, variables: bool = True) -> Pattern:
    """Read a policy's text; without ``variables`` (policies of version 2008-10-17) ``${…}`` is plain text."""
    if not variables:
        pieces = re.findall(r"[*?]|[^*?]+", source)
        return Pattern(source, tuple(Wildcard(piece) if piece in "*?" else piece for piece in pieces))
    parts: list[str | Wildcard | Variable] = []
    for token in _TOKEN.finditer(source):
        if token["wildcard"]:
            parts.append(Wildcard(token["wildcard"]))
        elif token["text"]:
            parts.append(token["text"])
        elif token["name"] in _ESCAPES:
            parts.append(_ESCAPES[token["name"]])
        else:
            parts.append(Variable(token["name"].strip(), token["default"]))
    return Pattern(source, tuple(parts))


def _resolve(variable: Variable, context: Context) -> str | None:
    value = context.single(variable.key)
    return variable.default if value is None else value


@functools.lru_cache(16_384)
def _compiled(parts: tuple[str | Wildcard, ...], kind: str) -> re.Pattern[str]:
    if parts and all(part == Wildcard("*") for part in parts):
        return re.compile(".*", re.DOTALL)
    written, colons = [], 0
    for index, part in enumerate(parts):
        if isinstance(part, str):
            written.append(re.escape(part))
            colons += part.count(":")
            continue
        following = parts[index + 1] if index + 1 < len(parts) else ":"
        ends_part = isinstance(following, str) and following.startswith(":")
        bound = kind == "arn" or (kind == "resource" and not ends_part)
        any_sign = "[^:]" if bound and colons < ARN_COLONS else "."
        written.append(any_sign + ("*" if part.sign == "*" else ""))
    if kind == "resource":
        written += [":.*"] * (ARN_COLONS - colons)
    return re.compile("".join(written), re.DOTALL)
