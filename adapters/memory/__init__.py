"""Source, sink and archive without a wire: for tests and dry runs. Not configurable, but bound by the same laws."""

from adapters.memory.archive import MemoryArchive as MemoryArchive
from adapters.memory.peer import MemoryPeer as MemoryPeer
from adapters.memory.sink import MemorySink as MemorySink
from adapters.memory.source import MemorySource as MemorySource
