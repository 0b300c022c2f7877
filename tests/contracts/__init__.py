"""One suite per contract, run over everything that can be configured (DESIGN section 11)."""

import pytest

# The suites are imported by tests and are not test modules themselves: without this their failures would say nothing.
pytest.register_assert_rewrite(
    "tests.contracts.rig", "tests.contracts.source", "tests.contracts.sink", "tests.contracts.archive"
)
