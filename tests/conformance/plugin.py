"""Runs the tests that are marked with rows of the conformance table, and says how it stands.

`pytest --conformance=FOLDER`, with the folder of the table, leaves every other test out and
fails where a row is open. Without the option nothing changes.
"""

from pathlib import Path

import pytest

from tests.conformance._table import Evidence, faults, read_groups, summary

__all__ = ["pytest_addoption", "pytest_configure"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer `--conformance`."""
    parser.addoption(
        "--conformance",
        type=Path,
        metavar="FOLDER",
        help="run the tests of the conformance table in FOLDER and fail where it does not hold",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Watch this session, if it was asked for."""
    folder = config.getoption("--conformance")
    if folder is not None:
        config.pluginmanager.register(Conformance(folder), "conformance")


class Conformance:
    """Collects what the tests show, also from other processes.

    Args:
        folder: Where the table is.
    """

    def __init__(self, folder: Path) -> None:
        self._groups = read_groups(folder)
        self._evidence: dict[str, Evidence] = {}

    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Keep the marked tests; the rows travel with their reports."""
        marked = list[pytest.Item]()
        others = list[pytest.Item]()
        for item in items:
            rows = [row for mark in item.iter_markers("rows") for row in mark.args]
            item.user_properties.append(("rows", " ".join(rows)))
            (marked if rows else others).append(item)
        items[:] = marked
        config.hook.pytest_deselected(items=others)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note how a test ended: the worst of set-up, call and tear-down."""
        rows = frozenset(str(dict(report.user_properties).get("rows", "")).split())
        earlier = self._evidence.get(report.nodeid)
        if earlier is None or earlier.outcome == "passed":
            self._evidence[report.nodeid] = Evidence(report.nodeid, rows, report.outcome)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail the session where the table does not hold; in a child it knows too little."""
        in_child = hasattr(session.config, "workerinput")
        if not in_child and any(faults(self._groups, self._seen)):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show the table."""
        terminalreporter.section("conformance")
        for line in summary(self._groups, self._seen):
            terminalreporter.write_line(line)
        for fault in faults(self._groups, self._seen):
            terminalreporter.write_line(fault, red=True)

    @property
    def _seen(self) -> list[Evidence]:
        return list(self._evidence.values())
