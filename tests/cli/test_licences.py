"""Which class of licence a package is said to have, by what it says itself."""

from pathlib import Path

import pytest

from tests.cli._kit import install, report

MIT_TEXT = "Permission is hereby granted, free of charge, to any person"
BSD_TEXT = "Redistribution and use in source and binary forms, with or without"
OSI = "Classifier: License :: OSI Approved"

PERMISSIVE, WEAK, STRONG = "permissive", "weak copyleft", "strong copyleft"


def licence_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], metadata: str, **licences: str
) -> tuple[str, str, str]:
    """Class, source and name of the licence of a package with this metadata."""
    install(tmp_path / "site", "alpha", metadata=metadata, licences=licences)
    found = report(capsys, f"--environment={tmp_path / 'site'}", f"--store={tmp_path / 'a.db'}")
    licence = found["packages"][0]["licence"]
    return licence["licence_class"], licence["source"], licence["name"]


@pytest.mark.parametrize(
    ("expression", "licence_class"),
    [
        ("MIT", PERMISSIVE),
        ("0BSD", PERMISSIVE),
        ("MPL-2.0", WEAK),
        ("LGPL-2.1-or-later", WEAK),
        ("GPL-2.0-only", STRONG),
        ("AGPL-3.0-or-later", STRONG),
        ("LicenseRef-Proprietary", "proprietary"),
        ("LicenseRef-Mystery", "unknown"),
        ("GPL-2.0-only OR MIT", PERMISSIVE),
        ("GPL-2.0-only AND MIT", STRONG),
        ("MIT AND (GPL-3.0-only OR MPL-2.0)", WEAK),
        ("MIT OR GPL-3.0-only AND MPL-2.0", PERMISSIVE),
        ("GPL-2.0-or-later WITH Classpath-exception-2.0", WEAK),
        ("Apache-2.0 WITH LLVM-exception", PERMISSIVE),
        ("MIT AND LicenseRef-Mystery", "unknown"),
    ],
)
def test_an_expression_is_evaluated(
    expression: str, licence_class: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A choice takes the mildest, a sum the strictest, an exception opens a copyleft."""
    found = licence_of(tmp_path, capsys, f"License-Expression: {expression}")

    assert (licence_class, expression) == (found[0], found[2])


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        (f"{OSI} :: MIT License", (PERMISSIVE, "classifiers", "MIT License")),
        (
            f"{OSI} :: MIT License\n{OSI} :: Mozilla Public License 2.0 (MPL 2.0)",
            (WEAK, "classifiers", "MIT License, Mozilla Public License 2.0 (MPL 2.0)"),
        ),
        (f"{OSI}\nLicense: BSD", (PERMISSIVE, "field", "BSD")),
        ("License: GNU General Public License v3 (GPLv3)", (STRONG, "field", None)),
        ("License: Apache License (2.0)", (PERMISSIVE, "field", None)),
        ("License: MIT (see LICENSE", (PERMISSIVE, "field", None)),
        ("License: Other/Proprietary License", ("proprietary", "field", None)),
        (f"License: Copyright Ada\n        {MIT_TEXT}", (PERMISSIVE, "field", "MIT")),
        (
            f"License: see LICENSE\n{OSI} :: BSD License",
            (PERMISSIVE, "classifiers", "BSD License"),
        ),
    ],
)
def test_without_an_expression_the_other_fields_are_believed(
    metadata: str,
    expected: tuple[str, str, str | None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In the order of how far they can be trusted."""
    licence_class, source, name = expected
    found = licence_of(tmp_path, capsys, metadata)

    assert (licence_class, source) == found[:2]
    assert name in {None, found[2]}


@pytest.mark.parametrize(
    ("licences", "expected"),
    [
        ({"LICENSE": MIT_TEXT}, (PERMISSIVE, "text", "MIT")),
        ({"LICENSE.txt": "GNU LESSER GENERAL\n PUBLIC LICENSE"}, (WEAK, "text", "LGPL")),
        ({"COPYING": "GNU GENERAL PUBLIC LICENSE"}, (STRONG, "text", "GPL")),
        ({"LICENSE.A": MIT_TEXT, "LICENSE.B": BSD_TEXT}, (PERMISSIVE, "text", "MIT AND BSD")),
        (
            {"LICENCE": "Copyright Ada. All rights reserved."},
            ("proprietary", "text", "proprietary"),
        ),
        ({"LICENSE": "Do what you like."}, ("unknown", "field", "see LICENSE")),
        ({"README": MIT_TEXT}, ("unknown", "field", "see LICENSE")),
    ],
)
def test_where_the_metadata_is_unclear_the_texts_are_read(
    licences: dict[str, str],
    expected: tuple[str, str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """By their wording; where that says nothing either, the unclear claim stays."""
    assert expected == licence_of(tmp_path, capsys, "License: see LICENSE", **licences)


def test_a_package_that_says_nothing_is_of_unknown_licence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Silence is no permission."""
    assert ("unknown", "none", "") == licence_of(tmp_path, capsys, "Summary: none")
