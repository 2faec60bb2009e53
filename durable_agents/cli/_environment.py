"""The packages that are installed, and every look at their files.

`installed_in` lists folders, nothing more. All that reads a file is a method of `Disk`: each is
a durable function, plain `def` and blocking, so that the worker runs it in a thread.
"""

import csv
import hashlib
import re
import stat
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Sequence
from importlib.metadata import Distribution, PackageMetadata
from pathlib import Path
from typing import NamedTuple

import msgspec

from durable_agents import durable
from durable_agents.cli._licences import LicenceClaims
from durable_agents.cli._witness import Watch, unwatched

__all__ = ["Disk", "FileCheck", "FileGroup", "Installed", "Metadata", "installed_in"]

_MOST_FILES = 32
_MOST_BYTES = 8 * 2**20
"""A group of files is hashed by one durable call: a call for each file would be a record for
each file, one call for all of them would be lost as a whole in a crash."""

_ALGORITHMS = {"sha256", "sha384", "sha512"}
"""What RECORD may use. Source: https://packaging.python.org/specifications/recording-installed-packages/"""

_LICENCE_FILE = re.compile(r"(licen[cs]e|copying|notice)", re.IGNORECASE)
_MOST_LICENCE_FILES = 5
_LICENCE_BYTES = 4096


class Installed(msgspec.Struct, frozen=True):
    """A distribution, as the name of its metadata folder tells: the input of an audit."""

    name: str
    """Normalized: lower case, words joined by `-`."""
    version: str
    folder: str
    """Absolute path of its metadata folder, `.dist-info` or `.egg-info`."""


class Metadata(msgspec.Struct, frozen=True):
    """What a distribution says about itself."""

    name: str
    version: str
    claims: LicenceClaims
    licence_files: list[str]
    """Absolute paths of the texts that came with it, at most five."""


class FileGroup(msgspec.Struct, frozen=True):
    """A slice of the lines of RECORD."""

    first: int
    stop: int


class FileCheck(msgspec.Struct, frozen=True):
    """Files against their hashes in RECORD."""

    ok: int = 0
    missing: list[str] = []
    """Paths as RECORD has them."""
    changed: list[str] = []
    unhashed: int = 0
    """Files that RECORD lists without a hash: compiled files, RECORD itself."""

    @classmethod
    def sum(cls, checks: Sequence["FileCheck"]) -> "FileCheck":
        """Several checks as one."""
        return cls(
            sum(check.ok for check in checks),
            [path for check in checks for path in check.missing],
            [path for check in checks for path in check.changed],
            sum(check.unhashed for check in checks),
        )


def installed_in(folders: Sequence[Path]) -> list[Installed]:
    """The distributions that an import would find, sorted by name.

    Args:
        folders: In the order of `sys.path`: of two distributions of one name, the first counts.
            What is no folder is skipped, as an import would.
    """
    found: dict[str, Installed] = {}
    for folder in folders:
        if folder.is_dir():
            for path in sorted(folder.iterdir()):
                if (one := _as_installed(path)) is not None:
                    found.setdefault(one.name, one)
    return [found[name] for name in sorted(found)]


def _as_installed(path: Path) -> Installed | None:
    # pip moves what it is about to remove to a name with a tilde, and may leave it there.
    if path.suffix not in {".dist-info", ".egg-info"} or path.name.startswith("~"):
        return None
    name, _, rest = path.stem.partition("-")
    normalized = re.sub(r"[-_.]+", "-", name).lower()
    return Installed(normalized, rest.partition("-")[0], str(path.absolute()))


class Disk:
    """Reads what is installed. Each method is a durable function.

    Args:
        watch: Taken around each function's body, with its name.
    """

    def __init__(self, watch: Watch = unwatched) -> None:
        self._watch = watch

    @durable(name="read_metadata")
    def read_metadata(self, folder: str) -> Metadata:
        """What the distribution says about itself.

        Args:
            folder: Its metadata folder.

        Raises:
            FileNotFoundError: There is no metadata: it was uninstalled, or never whole.
        """
        with self._watch("read_metadata"):
            metadata = Distribution.at(folder).metadata
            if "Name" not in metadata:
                msg = f"{folder} holds no METADATA with a name"
                raise FileNotFoundError(msg)
            return Metadata(
                _first(metadata, "Name"),
                _first(metadata, "Version"),
                LicenceClaims(
                    _first(metadata, "License-Expression"),
                    list(_licence_classifiers(metadata)),
                    _first(metadata, "License"),
                ),
                [str(path) for path in _licence_files(Path(folder))],
            )

    @durable(name="group_files")
    def group_files(self, folder: str) -> list[FileGroup] | None:
        """The lines of RECORD in groups of sensible size; None where there is no RECORD.

        Args:
            folder: The distribution's metadata folder.
        """
        with self._watch("group_files"):
            record = _record(folder)
            return None if record is None else list(_groups(record))

    @durable(name="check_files")
    def check_files(self, folder: str, group: FileGroup) -> FileCheck:
        """Hash a group of files and compare.

        Args:
            folder: The distribution's metadata folder.
            group: Which lines of RECORD.
        """
        with self._watch("check_files"):
            lines = (_record(folder) or [])[group.first : group.stop]
            root = Path(folder).parent
            return FileCheck.sum([_check(root, line) for line in lines])

    @durable(name="read_licence")
    def read_licence(self, path: str) -> str:
        """Beginning of a licence text.

        Args:
            path: The file, from `Metadata.licence_files`.
        """
        with self._watch("read_licence"), Path(path).open("rb") as file:
            return file.read(_LICENCE_BYTES).decode(errors="replace")


def _first(metadata: PackageMetadata, field: str) -> str:
    return next((str(value) for value in metadata.get_all(field) or []), "")


def _licence_classifiers(metadata: PackageMetadata) -> Iterator[str]:
    for classifier in metadata.get_all("Classifier") or []:
        root, *_, name = str(classifier).split(" :: ")
        if root == "License" and name != "OSI Approved":
            yield name


def _licence_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    paths = [*folder.glob("*"), *folder.glob("licenses/**/*")]
    matches = (p for p in paths if _LICENCE_FILE.match(p.name) and p.is_file())
    return sorted(matches)[:_MOST_LICENCE_FILES]


class _Line(NamedTuple):
    """A file as RECORD lists it; hash and size may be left empty."""

    path: str
    digest: str = ""
    """`algorithm=digest`, the digest in URL-safe base64 without padding."""
    size: str = ""


def _record(folder: str) -> list[_Line] | None:
    """The lines of RECORD; None where there is none."""
    text = Distribution.at(folder).read_text("RECORD")
    if text is None:
        return None
    return [_Line(*line[:3]) for line in csv.reader(text.splitlines()) if line]


def _groups(record: list[_Line]) -> Iterator[FileGroup]:
    first, size = 0, 0
    for following, line in enumerate(record, start=1):
        size += int(line.size) if line.size.isdecimal() else 0
        if following - first >= _MOST_FILES or size >= _MOST_BYTES:
            yield FileGroup(first, following)
            first, size = following, 0
    if first < len(record):
        yield FileGroup(first, len(record))


def _check(root: Path, line: _Line) -> FileCheck:
    algorithm, _, expected = line.digest.partition("=")
    if algorithm not in _ALGORITHMS:
        return FileCheck(unhashed=1)
    try:
        found = _hash(root / line.path, algorithm)
    except (FileNotFoundError, NotADirectoryError):
        return FileCheck(missing=[line.path])
    return FileCheck(ok=1) if found == expected else FileCheck(changed=[line.path])


def _hash(path: Path, algorithm: str) -> str:
    """As RECORD writes it; nothing for what is no file any more, a pipe for example."""
    if not stat.S_ISREG(path.stat().st_mode):
        return ""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, algorithm).digest()
    return urlsafe_b64encode(digest).rstrip(b"=").decode()
