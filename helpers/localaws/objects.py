"""S3 as the engines see it: the records' own objects, read and written in this process.

A training channel of five thousand photos over HTTP would cost the server half a minute of CPU for every host; here it
is one read from memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import AwsError
from .records import Records

Check = Callable[..., None]


@dataclass(frozen=True)
class S3Uri:
    """``s3://bucket/key``; the key has no leading slash and may be empty."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, uri: str) -> S3Uri:
        """Raises ``ValidationException`` for what is not an S3 URI."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        if not uri.startswith("s3://") or not bucket:
            raise AwsError("ValidationException", f"'{uri}' is not an S3 URI (s3://bucket/key).")
        return cls(bucket, key)

    def __truediv__(self, name: str) -> S3Uri:
        return S3Uri(self.bucket, f"{self.key.rstrip('/')}/{name}".lstrip("/"))

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


class Objects:
    """Buckets and objects of the account."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def bucket_exists(self, bucket: str) -> bool:
        """Whether the account has this bucket."""
        return bucket in self._s3.buckets

    def keys(self, uri: S3Uri) -> list[str]:
        """Every key that starts with the URI's key, in S3's order; empty too where there is no such bucket."""
        with self._records.lock("s3"):
            return [key for key, _ in self._under(uri)]

    def read(self, uri: S3Uri) -> bytes:
        """An object's content; raises ``NoSuchBucket`` or ``NoSuchKey``."""
        with self._records.lock("s3"):
            if not self.bucket_exists(uri.bucket):
                raise AwsError("NoSuchBucket", f"The specified bucket does not exist: {uri.bucket}", 404)
            held = self._s3.buckets[uri.bucket].keys.get(uri.key)
            if held is None or not hasattr(held, "value"):
                raise AwsError("NoSuchKey", f"The specified key does not exist: {uri}", 404)
            content: bytes = held.value
            return content

    def stamps(self, uri: S3Uri) -> dict[str, str]:
        """ETag by key of everything under a prefix: what tells whether an object has changed."""
        with self._records.lock("s3"):
            return {key: held.etag for key, held in self._under(uri)}

    def download(self, uri: S3Uri, path: Path) -> None:
        """Write an object to a file, its folders made; raises as :meth:`read`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.read(uri))

    def write(self, uri: S3Uri, content: bytes) -> None:
        """Create or replace an object, durably; raises ``NoSuchBucket``."""
        with self._records.lock("s3"):
            if not self.bucket_exists(uri.bucket):
                raise AwsError("NoSuchBucket", f"The specified bucket does not exist: {uri.bucket}", 404)
            self._s3.put_object(uri.bucket, uri.key, content)
            self._records.keep_object(uri.bucket, uri.key)

    def upload(self, path: Path, uri: S3Uri) -> None:
        """Create or replace an object from a file."""
        self.write(uri, path.read_bytes())

    def allowed_to(self, check: Check) -> Objects:
        """The same objects for somebody who may not do everything.

        ``check(action, resource, **context)`` raises ``AccessDenied`` before anything is read or written.
        """
        return CheckedObjects(self._records, check)

    @property
    def _s3(self) -> Any:
        return self._records.backend("s3", "aws")

    def _under(self, uri: S3Uri) -> Iterator[tuple[str, Any]]:
        if not self.bucket_exists(uri.bucket):
            return
        for key, held in sorted(self._s3.buckets[uri.bucket].keys.items()):
            # A delete marker has no value; a key that ends in "/" is a console "folder".
            if key.startswith(uri.key) and hasattr(held, "value") and not key.endswith("/"):
                yield key, held


class CheckedObjects(Objects):
    """Objects as a role may see them."""

    def __init__(self, records: Records, check: Check) -> None:
        super().__init__(records)
        self._check = check

    def keys(self, uri: S3Uri) -> list[str]:
        """As :meth:`Objects.keys`, with ``s3:ListBucket``."""
        self._check_list(uri)
        return super().keys(uri)

    def stamps(self, uri: S3Uri) -> dict[str, str]:
        """As :meth:`Objects.stamps`, with ``s3:ListBucket``."""
        self._check_list(uri)
        return super().stamps(uri)

    def read(self, uri: S3Uri) -> bytes:
        """As :meth:`Objects.read`, with ``s3:GetObject``."""
        self._check("s3:GetObject", f"arn:aws:s3:::{uri.bucket}/{uri.key}")
        return super().read(uri)

    def write(self, uri: S3Uri, content: bytes) -> None:
        """As :meth:`Objects.write`, with ``s3:PutObject``."""
        self._check("s3:PutObject", f"arn:aws:s3:::{uri.bucket}/{uri.key}")
        super().write(uri, content)

    def _check_list(self, uri: S3Uri) -> None:
        # Without the bucket the answer is that nothing is there, as it is for whoever may list it.
        if self.bucket_exists(uri.bucket):
            self._check("s3:ListBucket", f"arn:aws:s3:::{uri.bucket}", s3_prefix=uri.key)


__all__ = ["Objects", "S3Uri"]
