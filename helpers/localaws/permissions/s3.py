"""S3: its actions are named after what they do to buckets and objects, not after the API's operations.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import unquote

from .ask import Ask, Need

_ON_BUCKETS = """
CreateBucket DeleteBucket ListBucketMultipartUploads GetBucketLocation GetBucketAcl PutBucketAcl
GetBucketPolicy PutBucketPolicy DeleteBucketPolicy GetBucketPolicyStatus GetBucketLogging PutBucketLogging
GetBucketNotification PutBucketNotification GetBucketOwnershipControls PutBucketOwnershipControls
GetBucketTagging PutBucketTagging GetBucketVersioning PutBucketVersioning GetBucketRequestPayment
PutBucketRequestPayment GetBucketWebsite PutBucketWebsite DeleteBucketWebsite GetBucketAbac PutBucketAbac
HeadBucket:ListBucket ListObjects:ListBucket ListObjectsV2:ListBucket ListObjectVersions:ListBucketVersions
ListMultipartUploads:ListBucketMultipartUploads
GetBucketCors:GetBucketCORS PutBucketCors:PutBucketCORS DeleteBucketCors:PutBucketCORS
GetBucketEncryption:GetEncryptionConfiguration PutBucketEncryption:PutEncryptionConfiguration
DeleteBucketEncryption:PutEncryptionConfiguration
GetBucketLifecycle:GetLifecycleConfiguration GetBucketLifecycleConfiguration:GetLifecycleConfiguration
PutBucketLifecycle:PutLifecycleConfiguration PutBucketLifecycleConfiguration:PutLifecycleConfiguration
DeleteBucketLifecycle:PutLifecycleConfiguration
GetBucketNotificationConfiguration:GetBucketNotification PutBucketNotificationConfiguration:PutBucketNotification
DeleteBucketOwnershipControls:PutBucketOwnershipControls DeleteBucketTagging:PutBucketTagging
GetPublicAccessBlock:GetBucketPublicAccessBlock PutPublicAccessBlock:PutBucketPublicAccessBlock
DeletePublicAccessBlock:PutBucketPublicAccessBlock
GetBucketReplication:GetReplicationConfiguration PutBucketReplication:PutReplicationConfiguration
DeleteBucketReplication:PutReplicationConfiguration
GetObjectLockConfiguration:GetBucketObjectLockConfiguration
PutObjectLockConfiguration:PutBucketObjectLockConfiguration
GetBucketAccelerateConfiguration:GetAccelerateConfiguration
PutBucketAccelerateConfiguration:PutAccelerateConfiguration
GetBucketAnalyticsConfiguration:GetAnalyticsConfiguration ListBucketAnalyticsConfigurations:GetAnalyticsConfiguration
PutBucketAnalyticsConfiguration:PutAnalyticsConfiguration DeleteBucketAnalyticsConfiguration:PutAnalyticsConfiguration
GetBucketInventoryConfiguration:GetInventoryConfiguration ListBucketInventoryConfigurations:GetInventoryConfiguration
PutBucketInventoryConfiguration:PutInventoryConfiguration DeleteBucketInventoryConfiguration:PutInventoryConfiguration
GetBucketMetricsConfiguration:GetMetricsConfiguration ListBucketMetricsConfigurations:GetMetricsConfiguration
PutBucketMetricsConfiguration:PutMetricsConfiguration DeleteBucketMetricsConfiguration:PutMetricsConfiguration
GetBucketIntelligentTieringConfiguration:GetIntelligentTieringConfiguration
ListBucketIntelligentTieringConfigurations:GetIntelligentTieringConfiguration
PutBucketIntelligentTieringConfiguration:PutIntelligentTieringConfiguration
DeleteBucketIntelligentTieringConfiguration:PutIntelligentTieringConfiguration
"""
_ON_OBJECTS = """
GetObject PutObject DeleteObject AbortMultipartUpload GetObjectAcl PutObjectAcl GetObjectTagging PutObjectTagging
DeleteObjectTagging GetObjectRetention PutObjectRetention GetObjectLegalHold PutObjectLegalHold RestoreObject
GetObjectTorrent GetObjectAttributes
HeadObject:GetObject SelectObjectContent:GetObject CreateMultipartUpload:PutObject UploadPart:PutObject
CompleteMultipartUpload:PutObject CopyObject:PutObject UploadPartCopy:PutObject ListParts:ListMultipartUploadParts
"""
# With a version id, reading and deleting an object are actions of their own.
_VERSIONED = {
    "GetObject": "GetObjectVersion",
    "DeleteObject": "DeleteObjectVersion",
    "GetObjectAcl": "GetObjectVersionAcl",
    "PutObjectAcl": "PutObjectVersionAcl",
    "GetObjectTagging": "GetObjectVersionTagging",
    "PutObjectTagging": "PutObjectVersionTagging",
    "DeleteObjectTagging": "DeleteObjectVersionTagging",
    "GetObjectTorrent": "GetObjectVersionTorrent",
    "GetObjectAttributes": "GetObjectVersionAttributes",
}
# Keys whose values are HTTP headers of the same names.
_HEADER_KEYS = (
    "x-amz-acl x-amz-copy-source x-amz-metadata-directive x-amz-server-side-encryption x-amz-storage-class "
    "x-amz-server-side-encryption-aws-kms-key-id x-amz-content-sha256"
).split()


def _table(text: str) -> dict[str, str]:
    pairs = (one.partition(":") for one in text.split())
    return {operation: action or operation for operation, _, action in pairs}


ON_BUCKETS, ON_OBJECTS = _table(_ON_BUCKETS), _table(_ON_OBJECTS)


def needs(ask: Ask) -> Iterator[Need]:
    """S3's rules; nothing for an operation they do not know."""
    bucket, key = f"arn:aws:s3:::{ask.params.get('Bucket', '')}", ask.params.get("Key", "")
    context = _context(ask)
    if ask.operation == "ListBuckets":
        yield Need("s3:ListAllMyBuckets", context=context)
    elif ask.operation == "DeleteObjects":
        for one in ask.params["Delete"]["Objects"]:
            yield Need(_action("DeleteObject", one.get("VersionId")), f"{bucket}/{one['Key']}", context)
    elif ask.operation in ON_BUCKETS:
        yield Need(f"s3:{ON_BUCKETS[ask.operation]}", bucket, context)
    elif ask.operation in ON_OBJECTS:
        yield Need(_action(ON_OBJECTS[ask.operation], ask.params.get("VersionId")), f"{bucket}/{key}", context)
        yield from _besides(ask, f"{bucket}/{key}", context)


def _besides(ask: Ask, resource: str, context: dict[str, str]) -> Iterator[Need]:
    """What a call that does two things needs for the second."""
    source = ask.headers.get("x-amz-copy-source")
    if source and ask.operation in ("CopyObject", "UploadPartCopy"):
        path, _, version = source.partition("?versionId=")
        yield Need(_action("GetObject", version), f"arn:aws:s3:::{unquote(path).lstrip('/')}", context)
    if ask.operation in ("PutObject", "CopyObject", "CreateMultipartUpload"):
        if ask.headers.get("x-amz-tagging"):
            yield Need("s3:PutObjectTagging", resource, context)
        if ask.headers.get("x-amz-acl"):
            yield Need("s3:PutObjectAcl", resource, context)
    if ask.operation == "GetObjectAttributes":
        yield Need(_action("GetObject", ask.params.get("VersionId")), resource, context)


def _action(action: str, version: str | None) -> str:
    return f"s3:{_VERSIONED.get(action, action) if version else action}"


def _context(ask: Ask) -> dict[str, str]:
    found = {f"s3:{name}": ask.headers[name] for name in _HEADER_KEYS if name in ask.headers}
    queried = {
        "s3:prefix": "Prefix",
        "s3:delimiter": "Delimiter",
        "s3:max-keys": "MaxKeys",
        "s3:VersionId": "VersionId",
    }
    found |= {key: str(ask.params[name]) for key, name in queried.items() if ask.params.get(name) is not None}
    return found


__all__ = ["ON_BUCKETS", "ON_OBJECTS", "needs"]
