"""The services that only keep records, answered by moto: one unmodified WSGI application, in this process.

moto keeps everything in memory. What makes it last is here: after every call that changed something, the service's
backend is pickled to the state folder before the client is answered (S3 objects one file each, since a bucket may hold
gigabytes; the fast-growing log records once a second instead).
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import pickle
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

# moto and botocore read these when they are imported, and moto's clients to itself must not ask the machine for keys.
os.environ.setdefault("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")
os.environ.setdefault("MOTO_S3_DEFAULT_KEY_BUFFER_SIZE", str(4 << 20))
# moto's machine images are of 2017, and loading them takes a second; engines/instances/images.py has today's.
os.environ.setdefault("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")

from moto.backends import get_backend
from moto.iam.models import AWSManagedPolicy
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

from .errors import AwsError, NotImplementedHere
from .folder import PART

log = logging.getLogger(__name__)

EVERY = frozenset({"*"})
# Which operations moto answers, by service. "*" stands for all but those in EXCEPT. Whatever is not listed is refused:
# moto has an empty success for many things that never happened.
ANSWERED: dict[str, frozenset[str]] = {
    "s3": EVERY,
    "iam": EVERY,
    "sts": EVERY,
    "logs": EVERY,
    "ec2": EVERY,
    "dynamodb": EVERY,
    "kms": EVERY,
    "secretsmanager": EVERY,
    "sns": EVERY,
    "sqs": EVERY,
}
# What executes, and so cannot be a record.
EXCEPT: dict[str, frozenset[str]] = {
    "ec2": frozenset(
        "RunInstances StartInstances StopInstances RebootInstances TerminateInstances RequestSpotInstances "
        "RequestSpotFleet CreateFleet ModifyFleet ModifySpotFleetRequest GetConsoleOutput GetConsoleScreenshot "
        "DescribeSpotPriceHistory DescribeSpotInstanceRequests CancelSpotInstanceRequests RunScheduledInstances "
        "ImportInstance ImportImage GetPasswordData".split()
    ),
    "iam": frozenset({"SimulatePrincipalPolicy", "SimulateCustomPolicy"}),
    # moto answers these with credentials that open nothing, and a trust it does not look at.
    "sts": frozenset("GetSessionToken GetFederationToken AssumeRoleWithSAML AssumeRoleWithWebIdentity".split()),
    "logs": frozenset({"StartQuery", "GetQueryResults", "StopQuery", "StartLiveTail", "CreateExportTask"}),
    "s3": frozenset(
        # moto overlooks the part of the address that it does not know: it would delete the *bucket* for an analytics
        # configuration of it, the object for an annotation, and list objects for the others.
        "SelectObjectContent GetBucketPolicyStatus CreateSession RenameObject WriteGetObjectResponse "
        "UpdateObjectEncryption GetObjectTorrent GetObjectRetention ListDirectoryBuckets "
        "GetBucketRequestPayment PutBucketRequestPayment GetBucketAbac PutBucketAbac "
        "DeleteBucketInventoryConfiguration GetObjectAnnotation PutObjectAnnotation DeleteObjectAnnotation "
        "ListObjectAnnotations "
        "CreateBucketMetadataConfiguration GetBucketMetadataConfiguration DeleteBucketMetadataConfiguration "
        "CreateBucketMetadataTableConfiguration GetBucketMetadataTableConfiguration "
        "DeleteBucketMetadataTableConfiguration UpdateBucketMetadataAnnotationTableConfiguration "
        "UpdateBucketMetadataInventoryTableConfiguration UpdateBucketMetadataJournalTableConfiguration "
        "GetBucketAnalyticsConfiguration PutBucketAnalyticsConfiguration "
        "DeleteBucketAnalyticsConfiguration ListBucketAnalyticsConfigurations "
        "GetBucketMetricsConfiguration PutBucketMetricsConfiguration "
        "DeleteBucketMetricsConfiguration ListBucketMetricsConfigurations "
        "GetBucketIntelligentTieringConfiguration PutBucketIntelligentTieringConfiguration "
        "DeleteBucketIntelligentTieringConfiguration ListBucketIntelligentTieringConfigurations".split()
    ),
}
GLOBAL = frozenset({"s3", "iam", "sts"})
GROWING = frozenset({"logs"})
LOCK_TYPE = type(threading.RLock())
READS = ("Get", "List", "Head", "Describe", "Filter", "Scan", "Query", "BatchGet")
OBJECT_CHANGES = frozenset(
    "PutObject CopyObject CompleteMultipartUpload DeleteObject PutObjectTagging DeleteObjectTagging PutObjectAcl "
    "PutObjectRetention PutObjectLegalHold RestoreObject".split()
)
# A multipart upload is a record only once it is complete: until then a crash loses it, and clients start it again.
NOT_KEPT = frozenset({"CreateMultipartUpload", "UploadPart", "UploadPartCopy", "AbortMultipartUpload"})

# Where moto stumbles over a bad argument (it looks the upload up without asking whether it is there), AWS's answer.
STUMBLES: dict[tuple[str, str], tuple[type[Exception], AwsError]] = {
    ("s3", operation): (
        KeyError,
        AwsError("NoSuchUpload", "The specified multipart upload does not exist. The upload ID may be invalid.", 404),
    )
    for operation in ("UploadPart", "UploadPartCopy", "ListParts", "AbortMultipartUpload")
}


def answers(service: str, operation: str) -> bool:
    """Whether moto is trusted with this operation."""
    allowed = ANSWERED.get(service, frozenset())
    return (allowed is EVERY or operation in allowed) and operation not in EXCEPT.get(service, frozenset())


class Records:
    """moto's application and its persistence, for one account, below ``folder``."""

    def __init__(self, folder: Path, account: str) -> None:
        self.folder, self.account = folder, account
        self._application = DomainDispatcherApplication(create_backend_app)
        self._locks: dict[str, threading.RLock] = {service: threading.RLock() for service in ANSWERED}
        # One for both: moto's STS looks through IAM's users, and makes access keys there.
        self._locks["sts"] = self._locks["iam"]
        self._dirty: set[tuple[str, str]] = set()
        self._stopping = threading.Event()
        self._saver = threading.Thread(target=self._save_growing, name="records", daemon=True)
        (folder / "objects").mkdir(parents=True, exist_ok=True)
        self._restore()
        self._saver.start()

    def backend(self, service: str, region: str) -> Any:
        """moto's backend of a service: its records, for engines that read and write them in this process."""
        return get_backend(service)[self.account]["aws" if service in GLOBAL else region]

    def lock(self, service: str) -> threading.RLock:
        """Held while a service's records are touched: moto itself is not made for threads."""
        return self._locks[service]

    def answer(
        self, service: str, operation: str, region: str, environ: dict[str, Any], body: bytes, uri: dict[str, str]
    ) -> tuple[str, list[tuple[str, str]], bytes]:
        """Let moto answer one request; returns status line, headers and body.

        Raises :class:`NotImplementedHere` where moto has no such operation.
        """
        started: dict[str, Any] = {}

        def start_response(status: str, headers: list[tuple[str, str]], _: Any = None) -> None:
            started.update(status=status, headers=headers)

        environ = environ | {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        environ["RAW_URI"] = environ.get("REQUEST_URI", environ["PATH_INFO"])
        with self.lock(service):
            answered = self._ask_moto(service, operation, environ, start_response)
            status, headers = started["status"], started["headers"]
            if status.startswith(("404", "500", "501")) and _is_page(headers, answered):
                raise NotImplementedHere(f"{service}:{operation}")
            if status.startswith("2") and not operation.startswith(READS):
                self.keep(service, operation, region, uri)
        return status, headers, answered

    def _ask_moto(self, service: str, operation: str, environ: dict[str, Any], start_response: Any) -> bytes:
        expected, meant = STUMBLES.get((service, operation), (NotImplementedError, None))
        try:
            return b"".join(self._application(environ, start_response))
        except NotImplementedError as error:
            raise NotImplementedHere(f"{service}:{operation}", str(error)) from error
        except expected as error:
            raise meant or error from error

    def keep(self, service: str, operation: str, region: str, uri: dict[str, str]) -> None:
        """Write to disk what ``operation`` has changed."""
        if service == "s3" and operation in OBJECT_CHANGES:
            self.keep_object(uri["Bucket"], uri["Key"])
        elif service == "s3" and operation == "DeleteObjects":
            self._sweep_objects(uri["Bucket"])
        elif service == "s3" and operation not in NOT_KEPT:
            self._keep_buckets()
        elif service in GROWING:
            self._dirty.add((service, region))
        elif service != "s3":
            self._pickle(service, "aws" if service in GLOBAL else region)
        if service == "iam" or service == "sts":
            # Access keys of assumed roles live in the IAM backend, the sessions themselves in the STS backend.
            self._pickle("iam" if service == "sts" else "sts", "aws")

    def keep_object(self, bucket: str, key: str) -> None:
        """Write one S3 object (all its versions) to its file, or remove the file of an object that is gone."""
        with self.lock("s3"):
            path = self._object_path(bucket, key)
            held = self.backend("s3", "aws").buckets.get(bucket)
            versions = held.keys.getlist(key) if held is not None else None
            if not versions:
                path.unlink(missing_ok=True)
                return
            path.parent.mkdir(exist_ok=True)
            _write_pickle(path, (key, versions))

    def note_growth(self, service: str, region: str) -> None:
        """Say that an engine has added to a growing record (logs); it is saved within a second."""
        self._dirty.add((service, region))

    def close(self) -> None:
        """Save what is still unsaved, and stop."""
        self._stopping.set()
        self._saver.join()
        self._save_dirty()

    # ---- keeping ----

    def _pickle(self, service: str, region: str) -> None:
        with self.lock(service):
            _write_pickle(self.folder / f"{service}.{region}.pickle", self.backend(service, region))

    def _keep_buckets(self) -> None:
        """S3 without its objects; and the folders of buckets that are gone go."""
        backend = self.backend("s3", "aws")
        kept = {name: bucket.keys for name, bucket in backend.buckets.items()}
        try:
            for bucket in backend.buckets.values():
                bucket.keys = type(bucket.keys)()
            self._pickle("s3", "aws")
        finally:
            for name, keys in kept.items():
                backend.buckets[name].keys = keys
        wanted = {self._bucket_folder(name).name for name in kept}
        for folder in (self.folder / "objects").iterdir():
            if folder.name not in wanted:
                shutil.rmtree(folder)

    def _sweep_objects(self, bucket: str) -> None:
        """After a bulk delete: remove the files of objects that are gone, rewrite those with a new delete marker."""
        held = self.backend("s3", "aws").buckets[bucket]
        if held.is_versioned:
            for key in list(held.keys):
                self.keep_object(bucket, key)
        wanted = {self._object_path(bucket, key).name for key in held.keys}
        for path in self._bucket_folder(bucket).glob("*"):
            if path.name not in wanted:
                path.unlink()

    def _save_growing(self) -> None:
        while not self._stopping.wait(1.0):
            try:
                self._save_dirty()
            except Exception:  # the disk is full, say: next time there may be room
                log.exception("records that have grown could not be saved")

    def _save_dirty(self) -> None:
        for service, region in list(self._dirty):
            self._dirty.discard((service, region))  # before: what is added while it is written is written again
            try:
                self._pickle(service, region)
            except BaseException:
                self._dirty.add((service, region))
                raise

    # ---- restoring ----

    def _restore(self) -> None:
        for part in self.folder.rglob(f"*{PART}"):
            part.unlink()  # a server was killed while it wrote this: nobody was told that it is kept
        for path in sorted(self.folder.glob("*.pickle")):
            service, region = path.name.removesuffix(".pickle").split(".", 1)
            if service not in ANSWERED:  # left by an older version, when moto still kept these records
                continue
            with path.open("rb") as file:
                saved = _Unpickler(file, self.backend("iam", "aws").managed_policies).load()
            # moto hands out its backends through caches: fill the one it has rather than replace it.
            self.backend(service, region).__dict__.update(saved.__dict__)
        for key, bucket, versions in self._saved_objects():
            bucket.keys.setlist(key, versions)
        from moto.s3.models import s3_backends

        for name in self.backend("s3", "aws").buckets:
            s3_backends.bucket_accounts[name] = ("aws", self.account)

    def _saved_objects(self) -> Iterator[tuple[str, Any, list[Any]]]:
        buckets = self.backend("s3", "aws").buckets
        for name, bucket in buckets.items():
            for path in self._bucket_folder(name).glob("*"):
                key, versions = pickle.loads(path.read_bytes())
                yield key, bucket, versions

    def _bucket_folder(self, bucket: str) -> Path:
        return self.folder / "objects" / bucket

    def _object_path(self, bucket: str, key: str) -> Path:
        return self._bucket_folder(bucket) / hashlib.sha256(key.encode()).hexdigest()


class _Pickler(pickle.Pickler):
    """Writes AWS's own managed policies by name: there are 1,600, they never change, and moto brings them along."""

    def persistent_id(self, value: Any) -> str | None:
        return str(value.arn) if isinstance(value, AWSManagedPolicy) else None

    def reducer_override(self, value: Any) -> Any:
        """Locks (SQS's queues have one each) are written as new ones: whoever held them is gone when they are read."""
        return (threading.RLock, ()) if isinstance(value, LOCK_TYPE) else NotImplemented


class _Unpickler(pickle.Unpickler):
    """Finds AWS's managed policies where the fresh backend has them."""

    def __init__(self, file: IO[bytes], policies: dict[str, Any]) -> None:
        super().__init__(file)
        self._policies = policies

    def persistent_load(self, arn: str) -> Any:
        return self._policies[arn]


def _write_pickle(path: Path, value: Any) -> None:
    """Atomically: a reader, or a crash, sees the old file or the new one."""
    part = path.with_name(f"{path.name}.{threading.get_ident()}{PART}")
    with part.open("wb") as file:
        _Pickler(file, protocol=pickle.HIGHEST_PROTOCOL).dump(value)
    part.replace(path)


def _is_page(headers: list[tuple[str, str]], body: bytes) -> bool:
    """Whether moto's web framework answered (an HTML page), and not one of its services."""
    kind = next((value for name, value in headers if name.lower() == "content-type"), "")
    return "text/html" in kind and (b"<!doctype html" in body[:200].lower() or b"not yet implemented" in body.lower())


__all__ = ["Records", "answers"]
