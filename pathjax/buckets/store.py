"""Objects of a store by their address: look, list, download, upload and remove.

Through fsspec, so any store that it knows: s3://, gs://, az://, memory:// and others.
What may pass, such as a connection that is cut, is tried again; what remains is a
`BucketError` of one sentence. Credentials are found by the store's own library, in the
environment; they are not read here and cut out of messages. Nothing is kept here.
"""

import contextlib
import dataclasses
import datetime
import errno
import logging
import os
import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from pathjax.optional_deps import need

EXTRA = "buckets"
# `Path` makes s3:/bucket of s3://bucket.
_ADDRESS = re.compile(r"([a-z][a-z0-9+.:-]+):/(.*)", re.DOTALL)
# Web pages, files, and the transports of Dask's schedulers.
NO_STORES = ("http", "https", "file", "tcp", "tls", "ucx", "ws", "wss", "inproc")
WAITS = (0.5, 2.0, 8.0)  # seconds before the second, third and fourth attempt
# What identifies the content of an object, by the names that stores give it. Google's etag
# changes with an object's metadata too, such as its storage class.
TOKENS = ("generation", "ETag", "etag", "md5Hash", "mtime", "LastModified", "created")
GOOGLE = (
    "GOOGLE_APPLICATION_CREDENTIALS to a file with a key (or use a service account)"
)
CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    "gs": GOOGLE,
    "gcs": GOOGLE,
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
_SECRET = re.compile(r"KEY|SECRET|TOKEN|PASSWORD|CREDENTIAL", re.IGNORECASE)

T = TypeVar("T")
# It logs what it raises, with a traceback.
logging.getLogger("gcsfs").setLevel(logging.CRITICAL)


class BucketError(RuntimeError):
    """An object cannot be read or written; names its address and what to do."""


@dataclasses.dataclass(frozen=True)
class Stat:
    """Size in bytes of an object, and a text that changes with its content."""

    size: int
    token: str


def is_address(path: str | Path) -> bool:
    """Whether it is an address of a store rather than a path, a page or a server."""
    match = _ADDRESS.match(str(path))
    return bool(match) and match[1] not in NO_STORES


def split(address: str | Path) -> tuple[str, str]:
    """Scheme and key, bucket included, of an address.

    Raises:
      BucketError: It has credentials, or no bucket, or parts that are no names.
    """
    match = _ADDRESS.match(str(address))
    assert match is not None
    scheme, parts = match[1], [part for part in match[2].split("/") if part]
    if parts and re.search("[@:]", parts[0]):
        raise BucketError(
            f"{scheme}://...: expected a bucket's name, got something with '@' or ':': "
            "credentials belong in the environment, not in an address"
        )
    if not parts or {".", ".."} & set(parts):
        raise BucketError(f"{address}: expected SCHEME://BUCKET/KEY, without . and ..")
    return scheme, "/".join(parts)


def stat(address: str) -> Stat | None:
    """An object's size and token, None if there is none."""
    system, key = _system(address)
    with contextlib.suppress(FileNotFoundError):
        found = _call("read", address, lambda: system.info(key))
        return _stat(found) if found["type"] == "file" else None
    return None


def listing(address: str) -> dict[str, Stat]:
    """All objects at or below an address."""
    (system, key), (scheme, _) = _system(address), split(address)
    with contextlib.suppress(FileNotFoundError):
        found = _call("listed", address, lambda: system.find(key, detail=True))
        return {
            f"{scheme}://{name.lstrip('/')}": _stat(entry)
            for name, entry in found.items()
            if not name.endswith("/")  # a folder that a console made
        }
    return {}


def read(address: str) -> bytes | None:
    """The content of a small object, None if there is none."""
    system, key = _system(address)
    with contextlib.suppress(FileNotFoundError):
        return _call("read", address, lambda: system.cat_file(key))
    return None


def download(address: str, path: Path, expected: Stat) -> None:
    """Downloads an object into a file.

    Raises:
      BucketError: It cannot be read, or has another content than expected.
    """
    system, key = _system(address)

    def get() -> None:
        system.get_file(key, str(path))
        if (size := path.stat().st_size) != expected.size:
            raise OSError(f"{size} of {expected.size} bytes arrived")

    with _names_missing(address):
        _call("read", address, get)
    if stat(address) != expected:
        raise BucketError(f"{address} was replaced while it was read: run it again")


def upload(path: Path, address: str) -> Stat:
    """Uploads a file; the object appears whole or not at all, as the store's puts do."""
    system, key = _system(address)

    def put() -> Stat:
        size = path.stat().st_size
        system.put_file(str(path), key)
        there = stat(address)
        # A file that is appended to has grown since.
        if there is None or not size <= there.size <= path.stat().st_size:
            raise OSError(f"{there and there.size} of {size} bytes are there")
        return there

    with _names_missing(address):
        return _call("written", address, put)


def write(address: str, content: bytes) -> None:
    """Writes a small object."""
    system, key = _system(address)
    with _names_missing(address):
        _call("written", address, lambda: system.pipe_file(key, content))


def remove(addresses: Iterable[str]) -> None:
    """Removes objects one after another; those that are gone already are passed over."""
    for address in addresses:
        system, key = _system(address)
        with contextlib.suppress(FileNotFoundError):
            _call(
                "removed", address, lambda system=system, key=key: system.rm_file(key)
            )


def _stat(entry: dict[str, Any]) -> Stat:
    token = next((entry[name] for name in TOKENS if entry.get(name)), "")
    if isinstance(token, datetime.datetime):  # as fsspec says, or in seconds
        token = token.timestamp()
    return Stat(int(entry["size"]), str(token).strip('"'))


def _system(address: str) -> tuple[Any, str]:
    """fsspec's file system of an address, without cached listings, and the key in it."""
    scheme, key = split(address)
    fsspec = need("fsspec", EXTRA)
    try:
        return fsspec.filesystem(scheme, use_listings_cache=False), key
    except ImportError as error:
        raise BucketError(
            f"{address} needs a package that is not installed ({error}): "
            f"pip install 'pathjax[{EXTRA}]'"
        ) from error
    except ValueError as error:
        raise BucketError(
            f"{address}: {error}; expected s3://, gs:// or another scheme of fsspec"
        ) from error


@contextlib.contextmanager
def _names_missing(address: str):
    try:
        yield
    except FileNotFoundError as error:
        raise BucketError(
            f"{address} is not there: the bucket may not exist, or someone removed it"
        ) from error


def _call(done: str, address: str, function: Callable[[], T]) -> T:
    """The function's result, after up to four attempts."""
    scheme = split(address)[0]
    where = CREDENTIALS.get(scheme, "what its fsspec package asks for")
    for wait in (*WAITS, None):
        try:
            return function()
        except FileNotFoundError:
            raise
        except Exception as error:  # each store has its own
            if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
                raise
            if _is_refused(error):
                raise BucketError(
                    f"{address} may not be {done} with the credentials that were found: "
                    f"{_without_secrets(error)}"
                ) from None
            if _lacks_credentials(error):
                raise BucketError(
                    f"{address} cannot be {done}: no valid credentials were found; set "
                    f"{where} in the environment"
                ) from None
            if wait is None:
                raise BucketError(
                    f"{address} could not be {done}, after {len(WAITS) + 1} attempts: "
                    f"{type(error).__name__}: {_without_secrets(error)}. Run the same "
                    "command again"
                ) from None
        time.sleep(wait or 0)
    raise AssertionError


def _is_refused(error: Exception) -> bool:
    # gcsfs has no class for it.
    return isinstance(error, PermissionError) or str(error).startswith("Forbidden: ")


def _lacks_credentials(error: Exception) -> bool:
    # botocore's and google-auth's classes; gcsfs asks without any, and is refused with 401.
    return "Credential" in type(error).__name__ or getattr(error, "code", 0) == 401


def _without_secrets(error: BaseException) -> str:
    text = " ".join(str(error).split())[:200]
    for name, value in os.environ.items():
        if _SECRET.search(name) and len(value) > 3:
            text = text.replace(value, "***")
    return text
