"""What `import durable_agents` costs: nothing that was not asked for."""

import subprocess
import sys

EXTRAS = ["cronsim", "httpx", "pydantic", "attrs", "pytest", "rich", "uvloop"]


def test_importing_the_package_imports_no_extra() -> None:
    """A library must start with its core dependencies alone; extras come with their modules."""
    program = f"import sys, durable_agents; print(*set({EXTRAS}) & set(sys.modules))"

    done = subprocess.run(  # noqa: S603 -- our own program
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout.split() == []
