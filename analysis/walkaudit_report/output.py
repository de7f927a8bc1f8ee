"""Files that are there whole or not at all."""
import os
import pathlib
import tempfile

from .errors import Failure


def folder(path):
    """The folder that outputs go to, made if it is not there."""
    path = pathlib.Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failure("cannot make the folder", f"'{path}'", error.strerror) from None
    return path


def write(path, content):
    """Text or bytes under a temporary name first, then renamed."""
    data = content.encode("utf-8", "replace") if isinstance(content, str) else content
    save(path, lambda temporary: temporary.write_bytes(data))


def save(path, fill):
    """As `write`; fill(temporary path) makes the file, whose suffix is the final one's."""
    path = pathlib.Path(path)
    try:
        handle, name = tempfile.mkstemp(prefix=".", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = pathlib.Path(name)
        try:
            fill(temporary)
            temporary.chmod(0o666 & ~umask())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise Failure("cannot write the file", f"'{path}'", error.strerror or str(error)) from None


def umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
