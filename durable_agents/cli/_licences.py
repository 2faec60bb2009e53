"""Which kind of licence a package claims to have. No I/O: texts and claims are handed in.

A claim is looked for where it is most reliable first: the SPDX expression, the classifiers, the
free `License` field, then the text of the licence files. None of it is legal advice: it says
what the package says.
"""

import re
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Literal

import msgspec

__all__ = ["Licence", "LicenceClaims", "LicenceClass", "from_claims", "from_texts"]


class LicenceClass(StrEnum):
    """What a licence asks of those who pass the work on; the least demanding first."""

    PERMISSIVE = "permissive"
    WEAK_COPYLEFT = "weak copyleft"
    STRONG_COPYLEFT = "strong copyleft"
    PROPRIETARY = "proprietary"
    UNKNOWN = "unknown"


class LicenceClaims(msgspec.Struct, frozen=True):
    """What the metadata of a package says about its licence."""

    expression: str = ""
    """`License-Expression`: an SPDX expression."""
    classifiers: list[str] = []
    """Last parts of the `License ::` classifiers."""
    field: str = ""
    """`License`: a name, or the whole text."""


class Licence(msgspec.Struct, frozen=True):
    """A licence as it was found."""

    name: str
    licence_class: LicenceClass
    source: Literal["expression", "classifiers", "field", "text", "none"]
    """Where it was found."""


def from_claims(claims: LicenceClaims) -> Licence:
    """The licence that the metadata claims; of class `UNKNOWN` where it says nothing clear."""
    for licence in _claimed(claims):
        if licence.licence_class is not LicenceClass.UNKNOWN:
            return licence
    return next(_claimed(claims), Licence("", LicenceClass.UNKNOWN, "none"))


def from_texts(texts: Sequence[str]) -> Licence:
    """The licence whose wording the texts carry.

    Args:
        texts: Beginnings of licence files.
    """
    found = [family for text in texts for family in _family_of_text(text)]
    if not found:
        return Licence("", LicenceClass.UNKNOWN, "none")
    names = list(dict.fromkeys(name for name, _ in found))
    # Several files: all of them apply.
    return Licence(" AND ".join(names), max((c for _, c in found), key=_RANK), "text")


def _claimed(claims: LicenceClaims) -> Iterator[Licence]:
    if claims.expression:
        yield Licence(claims.expression, _class_of(claims.expression), "expression")
    if claims.classifiers:
        # Whether one may choose among several is not said; so all of them apply.
        strictest = max((_class_of(name) for name in claims.classifiers), key=_RANK)
        yield Licence(", ".join(claims.classifiers), strictest, "classifiers")
    if claims.field:
        if _is_name(claims.field):
            yield Licence(claims.field, _class_of(claims.field), "field")
        else:
            for name, licence_class in _family_of_text(claims.field):
                yield Licence(name, licence_class, "field")


_LONGEST_NAME = 100
_RANK = list(LicenceClass).index

_NAMES = [
    (LicenceClass.WEAK_COPYLEFT, r"\bLGPL|lesser general|library general"),
    (
        LicenceClass.STRONG_COPYLEFT,
        r"\bA?GPL|affero|general public|\bEUPL|\bSSPL|\bOSL\b|cecill",
    ),
    (LicenceClass.WEAK_COPYLEFT, r"\bMPL|mozilla public|\bEPL\b|eclipse public|\bCDDL|\bEPL-"),
    (LicenceClass.PROPRIETARY, r"proprietary|commercial|all rights reserved|\beula\b"),
    (
        LicenceClass.PERMISSIVE,
        (
            r"\bMIT\b|\b0?BSD|apache|\bISC|\bPSF|python software foundation|\bpython-2|\bzlib"
            r"|unlicense|\bCC0|public domain|\bHPND|\bBSL-1|boost|\bZPL|zope public"
            r"|\bWTFPL|postgresql|\bNCSA|\bX11\b|\bAFL|academic free|\bCNRI|artistic"
            r"|blue ?oak|historical"
        ),
    ),
]

_TEXTS = [
    ("AGPL", LicenceClass.STRONG_COPYLEFT, "gnu affero general public license"),
    ("LGPL", LicenceClass.WEAK_COPYLEFT, "gnu lesser general public license"),
    ("LGPL", LicenceClass.WEAK_COPYLEFT, "gnu library general public license"),
    ("GPL", LicenceClass.STRONG_COPYLEFT, "gnu general public license"),
    ("MPL-2.0", LicenceClass.WEAK_COPYLEFT, "mozilla public license"),
    ("Apache-2.0", LicenceClass.PERMISSIVE, "apache license"),
    ("MIT", LicenceClass.PERMISSIVE, "permission is hereby granted, free of charge"),
    ("BSD", LicenceClass.PERMISSIVE, "redistribution and use in source and binary forms"),
    ("ISC", LicenceClass.PERMISSIVE, "permission to use, copy, modify, and"),
    ("PSF-2.0", LicenceClass.PERMISSIVE, "python software foundation license"),
    ("Unlicense", LicenceClass.PERMISSIVE, "this is free and unencumbered software"),
    ("Zlib", LicenceClass.PERMISSIVE, "this software is provided 'as-is', without any express"),
    ("proprietary", LicenceClass.PROPRIETARY, "all rights reserved"),
]
"""Name, class and wording; the first wording that a text carries decides."""


def _is_name(field: str) -> bool:
    return len(field) <= _LONGEST_NAME and "\n" not in field.strip()


def _class_of(claim: str) -> LicenceClass:
    """Class of an SPDX expression, or of a name in anyone's spelling."""
    try:
        return _Expression(claim).evaluate()
    except ValueError:
        return _class_of_name(claim)


def _class_of_name(name: str) -> LicenceClass:
    for licence_class, pattern in _NAMES:
        if re.search(pattern, name, re.IGNORECASE):
            return licence_class
    return LicenceClass.UNKNOWN


def _family_of_text(text: str) -> Iterator[tuple[str, LicenceClass]]:
    """At most one family: that of the first wording found."""
    plain = " ".join(text.lower().split())
    for name, licence_class, wording in _TEXTS:
        if wording in plain:
            yield name, licence_class
            return


class _Expression:
    """An SPDX licence expression, read by recursive descent.

    `OR` leaves a choice, so the least demanding side counts; `AND` asks for both, so the most
    demanding one does. An exception (`WITH`) opens a strong copyleft for linking.
    Source: https://spdx.github.io/spdx-spec/v3.0.1/annexes/spdx-license-expressions/

    Raises:
        ValueError: It is no such expression.
    """

    def __init__(self, text: str) -> None:
        self._tokens: list[str] = re.findall(r"[()]|[^\s()]+", text)

    def evaluate(self) -> LicenceClass:
        """Class of the whole expression."""
        result = self._any_of()
        if self._tokens:
            msg = f"{self._tokens[0]!r} was not expected there"
            raise ValueError(msg)
        return result

    def _any_of(self) -> LicenceClass:
        classes = [self._all_of()]
        while self._takes("OR"):
            classes.append(self._all_of())
        return min(classes, key=_RANK)

    def _all_of(self) -> LicenceClass:
        classes = [self._one()]
        while self._takes("AND"):
            classes.append(self._one())
        return max(classes, key=_RANK)

    def _one(self) -> LicenceClass:
        if self._takes("("):
            inner = self._any_of()
            if not self._takes(")"):
                msg = "a parenthesis is not closed"
                raise ValueError(msg)
            return inner
        licence_class = _class_of_name(self._name())
        if self._takes("WITH"):
            self._name()
            if licence_class is LicenceClass.STRONG_COPYLEFT:
                return LicenceClass.WEAK_COPYLEFT
        return licence_class

    def _name(self) -> str:
        if not self._tokens or not re.fullmatch(r"[\w.:+-]+", self._tokens[0]):
            msg = "the name of a licence was expected"
            raise ValueError(msg)
        return self._tokens.pop(0)

    def _takes(self, token: str) -> bool:
        if self._tokens and self._tokens[0].upper() == token:
            self._tokens.pop(0)
            return True
        return False
