"""An agent that audits one installed package for each input.

    input ─> read ─ MetadataRead ─┬─> check_files ────── FilesChecked ──────┬─> report ─> output
                                  └─> classify_licence ─ LicenceClassified ─┘

`report` is fired twice and speaks the second time: what came first waits in the sensory memory
of the run. Every look at the disk is a durable call, so an audit that was killed goes on where
it stopped; what needs no look at the disk is plain code, and runs again on a replay.
"""

import asyncio
from collections.abc import Iterable

import msgspec

from durable_agents import Agent, Event, InputEvent, RunnerContext, action
from durable_agents.cli._environment import (
    Disk,
    FileCheck,
    FileGroup,
    Installed,
    Metadata,
)
from durable_agents.cli._licences import Licence, LicenceClass, from_claims, from_texts

__all__ = ["Audit", "PackageReport"]


class MetadataRead(Event, tag="audit.metadata_read"):
    """What a package says about itself is known."""

    installed: Installed
    metadata: Metadata
    groups: list[FileGroup] | None
    """Its files in groups; None where it has no RECORD."""


class FilesChecked(Event, tag="audit.files_checked"):
    """The files of a package were compared with its RECORD."""

    metadata: Metadata
    files: FileCheck | None


class LicenceClassified(Event, tag="audit.licence_classified"):
    """The licence of a package is known, or known to be unclear."""

    metadata: Metadata
    licence: Licence


class PackageReport(msgspec.Struct, frozen=True):
    """What the audit of one package came to: its output."""

    name: str
    version: str
    licence: Licence
    files: FileCheck | None
    """None where the package has no RECORD to compare with."""


class Audit(Agent):
    """The agent.

    Args:
        disk: Where its durable functions look.
    """

    def __init__(self, disk: Disk) -> None:
        super().__init__("audit", input=Installed)
        self._disk = disk

    @action(InputEvent)
    async def read(self, event: InputEvent[Installed], ctx: RunnerContext) -> MetadataRead:
        """Read the metadata and the list of files, both at once."""
        folder = event.input.folder
        metadata, groups = await asyncio.gather(
            ctx.durable(self._disk.read_metadata, folder),
            ctx.durable(self._disk.group_files, folder),
        )
        return MetadataRead(installed=event.input, metadata=metadata, groups=groups)

    @action(MetadataRead)
    async def check_files(self, event: MetadataRead, ctx: RunnerContext) -> FilesChecked:
        """Hash all groups of files side by side."""
        if event.groups is None:
            return FilesChecked(metadata=event.metadata, files=None)
        async with asyncio.TaskGroup() as tasks:
            checks = [
                tasks.create_task(
                    ctx.durable(self._disk.check_files, event.installed.folder, group)
                )
                for group in event.groups
            ]
        files = FileCheck.sum([check.result() for check in checks])
        return FilesChecked(metadata=event.metadata, files=files)

    @action(MetadataRead)
    async def classify_licence(
        self, event: MetadataRead, ctx: RunnerContext
    ) -> LicenceClassified:
        """Believe the metadata where it is clear, else read the licence texts."""
        licence = from_claims(event.metadata.claims)
        if licence.licence_class is LicenceClass.UNKNOWN:
            texts = await self._texts(event.metadata.licence_files, ctx)
            licence = _clearer(licence, from_texts(texts))
        return LicenceClassified(metadata=event.metadata, licence=licence)

    @action(FilesChecked, LicenceClassified)
    async def report(self, event: FilesChecked | LicenceClassified, ctx: RunnerContext) -> None:
        """Output the report once both halves are there."""
        memory = ctx.sensory_memory
        if isinstance(event, FilesChecked):
            memory["files"] = event.files
        else:
            memory["licence"] = event.licence
        if "files" in memory and "licence" in memory:
            metadata = event.metadata
            ctx.output(
                PackageReport(
                    metadata.name, metadata.version, memory["licence"], memory["files"]
                )
            )

    async def _texts(self, paths: Iterable[str], ctx: RunnerContext) -> list[str]:
        calls = [ctx.durable(self._disk.read_licence, path) for path in paths]
        return await asyncio.gather(*calls)


def _clearer(claimed: Licence, read: Licence) -> Licence:
    return claimed if read.licence_class is LicenceClass.UNKNOWN else read
