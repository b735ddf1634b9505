"""Bucket policies. They are kept apart from moto's buckets, since moto would apply them too, and knows no conditions.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-policies.html
"""

from __future__ import annotations

from typing import Any

from .errors import AwsError
from .policy import Document, PolicyError, parse
from .records import Records
from .store import Store

GLOBAL = "aws"


class BucketPolicies:
    """The policy of each bucket, as text; one that a deleted bucket of the same name had is none."""

    def __init__(self, store: Store, records: Records) -> None:
        self._table, self._records = store.table("bucket-policy"), records
        self._held = {name: document for _, name, document in self._table.everywhere()}

    def of(self, resource: str) -> list[Document]:
        """What the policy of the bucket of an ARN (the bucket's or an object's) says; nothing without a policy."""
        text = self.find(resource.split(":", 5)[5].partition("/")[0])
        return [parse(text, "resource")] if text else []

    def find(self, bucket: str) -> str | None:
        """A bucket's policy."""
        document = self._held.get(bucket)
        if document is None or document["made"] != self._made(bucket):
            return None
        return str(document["policy"])

    def put(self, bucket: str, text: str) -> None:
        """Set a bucket's policy; raises ``MalformedPolicy``, and ``AccessDenied`` where public ones are blocked."""
        try:
            policy = parse(text, "resource")
        except PolicyError as error:
            raise AwsError("MalformedPolicy", str(error)) from error
        for statement in policy.statements:
            for pattern in statement.resources:
                if not pattern.source.startswith((f"arn:aws:s3:::{bucket}", "*", "arn:aws:s3:::*")):
                    raise AwsError("MalformedPolicy", "Policy has invalid resource")
        if self._blocks_public(bucket) and _is_public(policy):
            why = "Public policies are prevented by the BlockPublicPolicy setting in S3 Block Public Access."
            raise AwsError("AccessDenied", why, 403)
        document = {"policy": text, "made": self._made(bucket)}
        self._table.put(GLOBAL, bucket, document)
        self._held[bucket] = document

    def delete(self, bucket: str) -> None:
        """Remove a bucket's policy; no error where it has none."""
        self._held.pop(bucket, None)
        self._table.delete(GLOBAL, bucket)

    def _bucket(self, bucket: str) -> Any:
        return self._records.backend("s3", "aws").buckets.get(bucket)

    def _made(self, bucket: str) -> str | None:
        held = self._bucket(bucket)
        return held.creation_date.isoformat() if held is not None else None

    def _blocks_public(self, bucket: str) -> bool:
        block = getattr(self._bucket(bucket), "public_access_block", None)
        return bool(block is not None and block.block_public_policy)


def _is_public(policy: Document) -> bool:
    return any(
        one.allows and one.principals is not None and ("AWS", "*") in one.principals.members and not one.conditions
        for one in policy.statements
    )
