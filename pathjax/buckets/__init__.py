"""Addresses of object stores, such as s3://bucket/run, wherever a path is taken.

    address -> local(address) -> a path in the cache, which all other code reads and writes
    file written whole (files.py) -> uploaded to the address that its path stands for

`store` speaks to the object store, `cache` keeps the local copies.
"""

from pathjax.buckets import store
from pathjax.buckets.cache import (
    address_of,
    has,
    hold,
    local,
    most_open,
    refresh,
    shown,
    upload,
)
from pathjax.buckets.store import BucketError, is_address

__all__ = [
    "BucketError",
    "address_of",
    "has",
    "hold",
    "is_address",
    "local",
    "most_open",
    "refresh",
    "shown",
    "store",
    "upload",
]
