"""Files of a folder into which others write: only plain files below it are opened, and no link is followed.

Each folder on the way is opened within the one before it, so none can be swapped for a link in between.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader

_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "pipe",
    stat.S_IFSOCK: "socket",
}


class NotPlainError(OSError):
    """Something that is neither a file nor a folder stands where one is expected."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"is a {kind}")
        self.kind = kind


def open_file(root: str, *below: str) -> BufferedReader:
    """Open a file for reading.

    Args:
        root: a folder that is trusted: it may itself be a link.
        below: the folders on the way, and the file's name.

    Raises:
        NotPlainError: it, or a folder on the way, is a link, a pipe, a device or the like.
        OSError: it is not there, or may not be read.
    """
    with _folder(root, *below[:-1]) as folder:
        return os.fdopen(_open(below[-1], folder, "file"), "rb")


def kinds(root: str, *below: str) -> dict[str, str]:
    """What is in a folder: by name ``file``, ``directory``, ``link`` and so on.

    Raises:
        NotPlainError: it, or a folder on the way, is no folder.
        OSError: it is not there, or may not be listed.
    """
    with _folder(root, *below) as folder, os.scandir(folder) as entries:
        return {entry.name: _kind(entry.stat(follow_symlinks=False)) for entry in entries}


@contextmanager
def _folder(root: str, *below: str) -> Iterator[int]:
    opened = [os.open(root, os.O_RDONLY | os.O_DIRECTORY)]
    try:
        for name in below:
            opened.append(_open(name, opened[-1], "directory"))
        yield opened[-1]
    finally:
        for descriptor in opened:
            os.close(descriptor)


def _open(name: str, folder: int, wanted: str) -> int:
    # The first look keeps a device from being opened at all, the second is for what came in between.
    found = _kind(os.stat(name, dir_fd=folder, follow_symlinks=False))
    if found != wanted:
        raise NotPlainError(found)
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except PermissionError:
        raise
    except OSError:
        raise NotPlainError("link") from None
    found = _kind(os.fstat(descriptor))
    if found != wanted:
        os.close(descriptor)
        raise NotPlainError(found)
    return descriptor


def _kind(found: os.stat_result) -> str:
    return _KINDS.get(stat.S_IFMT(found.st_mode), "device")
