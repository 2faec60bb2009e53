"""Other systems under our workloads: each a script of its own, in an environment of its own."""
