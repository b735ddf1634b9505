"""S3: policies of buckets."""

from __future__ import annotations

from ..errors import refuse
from ..gateway import Params, Request, operation


@operation("s3", "PutBucketPolicy")
def put_bucket_policy(request: Request, params: Params) -> None:
    """Set a bucket's policy."""
    _check_exists(request, params["Bucket"])
    request.cloud.bucket_policies.put(params["Bucket"], params["Policy"])


@operation("s3", "GetBucketPolicy")
def get_bucket_policy(request: Request, params: Params) -> Params:
    """A bucket's policy, as it was put."""
    _check_exists(request, params["Bucket"])
    text = request.cloud.bucket_policies.find(params["Bucket"])
    if text is None:
        refuse("NoSuchBucketPolicy", "The bucket policy does not exist", status=404)
    return {"Policy": text}


@operation("s3", "DeleteBucketPolicy")
def delete_bucket_policy(request: Request, params: Params) -> None:
    """Remove a bucket's policy."""
    _check_exists(request, params["Bucket"])
    request.cloud.bucket_policies.delete(params["Bucket"])


def _check_exists(request: Request, bucket: str) -> None:
    if not request.cloud.objects.bucket_exists(bucket):
        refuse("NoSuchBucket", "The specified bucket does not exist", status=404)
