"""The running machine: the only place that starts jobs, retries sessions and counts."""
