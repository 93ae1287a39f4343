"""The facts that hold, one test each. A package, so that no other `tests` can shadow it."""
