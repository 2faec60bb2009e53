"""The locks beside the file of a store: who may open it, and who of those who share it lives.

    <path>.lock            held by the one owner, or by all workers that share the file
    <path>.workers/        of a shared file; held while one of them opens the file
    <path>.workers/<name>  one for each worker that shares the file, held while it lives

The system drops them when a process dies, however it dies. `flock` is bound to the open file,
so that a second worker in the same process is refused too.
"""

import fcntl
import os
import secrets
from contextlib import suppress
from pathlib import Path

from durable_agents.errors import StoreOwnedError, StoreUnavailableError

__all__ = ["FileLock", "SharedLock", "owner_text"]

_MODE = 0o600
_FOLDER_MODE = 0o700
_SHARED = "workers that share it (shared=True), the last one that joined being "


class FileLock:
    """Held by the one worker that owns the store.

    Args:
        path: The store's file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def take(self, owner: str) -> None:
        """Become the owner.

        Raises:
            StoreOwnedError: A living worker is; the error names it.
            StoreUnavailableError: The folder is missing or cannot be written.
        """
        file = _open_lock(self._path)
        if not _try_lock(file, fcntl.LOCK_EX, self._path):
            raise _owned(file, self._path)
        _name_owner(file, owner)
        self._file = file

    def release(self) -> None:
        """Let the next worker have it."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


class SharedLock:
    """Held by each of the workers that share the store.

    While one of them opens the file, from `take` to `settle`, others wait: the first one may
    have to change what no two may change at once.

    Args:
        path: The store's file.
    """

    def __init__(self, path: Path) -> None:
        self._owner = ""
        self.name: str = ""
        """Name of this worker's own lock."""
        self.is_first: bool = False
        """Whether nobody else had the file open."""
        self._path = path
        self._folder = path
        self._files: list[int] = []

    def take(self, owner: str) -> None:
        """Join those who share the file, or be the first one.

        Raises:
            StoreOwnedError: A living worker owns it alone; the error names it.
            StoreUnavailableError: The folder is missing or cannot be written.
        """
        if self._files:
            problem = f"it is owned by {self._owner}: make a store of its own for each worker"
            raise StoreOwnedError(str(self._path), problem)
        try:
            self._take(owner)
        except OSError as error:
            self.release()
            problem = f"{error}: its locks cannot be made; create the folder or take another"
            raise StoreUnavailableError(str(self._path), problem) from error
        except BaseException:
            self.release()
            raise

    def settle(self) -> None:
        """The file is open: let the next one open it.

        Raises:
            StoreOwnedError: A worker came in between that owns it alone.
        """
        gate, file, _ = self._files
        if self.is_first and not _try_lock(file, fcntl.LOCK_SH, self._path):
            del self._files[1]
            raise _owned(file, self._path)
        os.close(gate)
        self._files.remove(gate)

    def release(self) -> None:
        """Leave. Whoever looks for this worker finds it gone."""
        if self.name:
            self.discard(self.name)
            self.name = ""
        files, self._files = self._files, []
        for file in files:
            os.close(file)

    def is_free(self, name: str) -> bool:
        """Whether nobody holds a worker's lock: its process is dead, or it has left."""
        try:
            file = os.open(self._folder / name, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        try:
            return _try_flock(file, fcntl.LOCK_SH)
        finally:
            os.close(file)

    def discard(self, name: str) -> None:
        """Remove the lock of a worker that is gone."""
        with suppress(OSError):
            (self._folder / name).unlink()

    def _take(self, owner: str) -> None:
        self._folder = Path(f"{self._path.resolve()}.workers")
        self._folder.mkdir(_FOLDER_MODE, exist_ok=True)
        gate = os.open(self._folder, os.O_RDONLY | os.O_CLOEXEC)
        self._files.append(gate)
        fcntl.flock(gate, fcntl.LOCK_EX)
        file = _open_lock(self._path)
        self.is_first = _try_lock(file, fcntl.LOCK_EX, self._path)
        if not self.is_first and not _try_lock(file, fcntl.LOCK_SH, self._path):
            raise _owned(file, self._path)
        self._files.append(file)
        if self.is_first:
            for left in list(self._folder.iterdir()):
                self.discard(left.name)
        self.name = secrets.token_hex(8)
        own = os.open(
            self._folder / self.name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE
        )
        self._files.append(own)
        fcntl.flock(own, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _name_owner(file, f"{_SHARED}{owner}")
        self._owner = owner


def owner_text(owner: str) -> str:
    """How the lock names its owner to the next one who tries."""
    return f"{owner} on {os.uname().nodename}"


def _open_lock(path: Path) -> int:
    # Beside the file itself, so that a link to it leads to the same lock.
    lock_path = f"{path.resolve()}.lock"
    try:
        return os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)
    except OSError as error:
        problem = f"{error.strerror or error}: {lock_path} cannot be made; create the folder"
        raise StoreUnavailableError(str(path), f"{problem} or take another path") from error


def _try_lock(file: int, how: int, path: Path) -> bool:
    """Whether the lock was to be had; the file is closed where it cannot be locked at all."""
    try:
        return _try_flock(file, how)
    except OSError as error:
        os.close(file)
        problem = (
            f"{path.resolve()}.lock cannot be locked ({error}): take a path on a local disk"
        )
        raise StoreUnavailableError(str(path), problem) from error


def _try_flock(file: int, how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _owned(file: int, path: Path) -> StoreOwnedError:
    holder = os.pread(file, 1000, 0).decode(errors="replace")
    os.close(file)
    remedy = "stop that worker first"
    if holder.startswith(_SHARED):
        remedy = "stop them all first, or join them with shared=True"
    return StoreOwnedError(str(path), f"it is owned by {holder or 'another worker'}: {remedy}")


def _name_owner(file: int, owner: str) -> None:
    # On a full disk the owner has no name, and owns it all the same.
    with suppress(OSError):
        os.ftruncate(file, 0)
        os.pwrite(file, owner.encode(errors="replace"), 0)
