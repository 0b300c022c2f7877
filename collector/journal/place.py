"""Where a journal may lie, and whose it is: refused on network drives, private to its owner, renamed when it was copied.

Network drives: SQLite's log is shared memory between processes of one computer, and most network file systems promise
neither locks nor flushes; what was acknowledged would be lost with the server's cache. There is a named way around it
(`buffer.network_drive: allow`), for a drive that only this computer uses and that is known to keep both promises.

Copies (fault matrix D11): the file remembers the computer and the folder in which it was opened. Elsewhere it is a copy
or was moved, which cannot be told apart; it then gets a new id of its own, and everything else stays. Refusing would
punish those who move a state folder to a larger disk. Not seen: two clones of a whole computer, which have the same id
and the same folder.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

_SERVERS: Final = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "afpfs", "ncpfs", "coda", "webdav")
_CLUSTERS: Final = ("ceph", "glusterfs", "lustre", "ocfs2", "gfs2", "beegfs", "gpfs", "orangefs")
_HOSTS: Final = ("vboxsf", "prl_fs", "vmhgfs", "drvfs")
NETWORK: Final = frozenset((*_SERVERS, *_CLUSTERS, *_HOSTS))
FUSE_LOCAL: Final = frozenset(
    {"fuse.fuse-overlayfs", "fuse.mergerfs", "fuse.ntfs-3g", "fuse.exfat", "fuse.lxcfs"}
)
MACHINE_IDS: Final = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))
_REMOTE_DRIVE: Final = 4  # GetDriveTypeW: DRIVE_REMOTE


class NetworkDrive(Exception):
    """The journal's folder is not on a disk of this computer."""


def refuse_network(path: Path) -> None:
    """Raises NetworkDrive, with the remedy."""
    kind = network_kind(path)
    if kind is not None:
        raise NetworkDrive(
            f"{path}: this folder is on a network drive ({kind}). The buffer promises that what was acknowledged is on "
            "the disk, and a network drive cannot keep that. Set `state` to a folder on a disk of this computer; only if "
            "this drive is used by no other computer and keeps locks and flushes: `buffer: {network_drive: allow}`."
        )


def network_kind(path: Path) -> str | None:
    """The file system's name if it is one of a network, else None; also None where the system does not say."""
    if sys.platform == "win32":
        return _windows_drive(path)
    kind = _file_system(path, Path("/proc/self/mountinfo"))
    return kind if kind is not None and is_network(kind) else None


def is_network(kind: str) -> bool:
    """Of FUSE only what is known to be local is let through: sshfs, rclone, s3fs, gluster and their like come and go."""
    return kind in NETWORK or (kind.startswith("fuse.") and kind not in FUSE_LOCAL)


def _file_system(path: Path, mounts: Path) -> str | None:
    """The type of the mount that `path` lies in: the last one listed of the deepest (proc_pid_mountinfo(5))."""
    try:
        lines = mounts.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return None
    where = path.absolute().resolve()
    found: tuple[str, str | None] = ("", None)
    for line in lines:
        place, kind = _mount(line)
        if len(place) >= len(found[0]) and where.is_relative_to(place):
            found = (place, kind)
    return found[1]


def _mount(line: str) -> tuple[str, str]:
    left, _, right = line.partition(" - ")
    place = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), left.split(" ")[4])
    return place, right.split(" ")[0]


def _windows_drive(path: Path) -> str | None:
    import ctypes

    drive = path.absolute().drive
    if drive.startswith("\\\\"):
        return "a shared folder"
    kind = ctypes.windll.kernel32.GetDriveTypeW(f"{drive}\\")  # type: ignore[attr-defined,unused-ignore]
    return "a network letter" if kind == _REMOTE_DRIVE else None


def place_of(path: Path) -> str:
    """Names this computer and this path, the same after every boot, and nothing can be read from it."""
    words = f"{_machine()}\0{path.absolute().resolve()}"
    return hashlib.sha256(words.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _machine() -> str:
    for file in MACHINE_IDS:
        with suppress(OSError):
            return file.read_text("utf-8").strip()
    return _windows_machine() if sys.platform == "win32" else ""


def _windows_machine() -> str:
    import winreg

    with suppress(OSError):
        key = winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"SOFTWARE\Microsoft\Cryptography")  # type: ignore[attr-defined,unused-ignore]
        return str(winreg.QueryValueEx(key, "MachineGuid")[0])  # type: ignore[attr-defined,unused-ignore]
    return ""


def keep_private(path: Path) -> None:
    """Make the file before SQLite does, with 0600 whatever the umask; its log and index take the mode from it.

    Files of earlier runs are put right. The owner's own doing: a file of somebody else stays as it is.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    for end in ("", "-wal", "-shm", ".mark", ".lock", ".ballast"):
        file = Path(f"{path}{end}")
        with suppress(FileNotFoundError, PermissionError):
            if file.is_file():
                file.chmod(0o600)
