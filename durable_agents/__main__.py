"""`python -m durable_agents`: the command line, where its script is not on the path."""

import sys

from durable_agents.cli import main

sys.exit(main())
