"""What is asked of the operating system: counted in a process of its own, by glibc's own report."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

HEAPS = """
import ctypes, sys, threading
from collector.system import few_heaps

few = sys.argv[1] == "few"
assert few_heaps() is few
import pyarrow

assert (pyarrow.default_memory_pool().backend_name == "system") is few
together = threading.Barrier(9)

def work():
    kept = [bytes(n) for n in range(600, 2000)]  # beyond what Python keeps for itself
    together.wait()
    together.wait()

threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
together.wait()
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
out = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, out)
libc.fflush(out)
together.wait()
for thread in threads:
    thread.join()
"""


ASKED = ("MALLOC_ARENA_MAX", "ARROW_DEFAULT_MEMORY_POOL")


def heaps(wish: str, **environment: str) -> int:
    command = [sys.executable, "-P", "-c", HEAPS, wish]
    bare = {name: value for name, value in os.environ.items() if name not in ASKED}
    done = subprocess.run(command, env={**bare, **environment}, capture_output=True, text=True, check=True)
    return done.stdout.count("<heap nr=")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator")
def test_threads_and_arrow_share_two_heaps_unless_the_environment_says_otherwise() -> None:
    assert heaps("few") == 2
    assert heaps("many", MALLOC_ARENA_MAX="5") == 5
