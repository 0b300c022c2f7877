"""For tests of other people's programs: machines in the test's own process, and a pytest plugin that hands them out."""
