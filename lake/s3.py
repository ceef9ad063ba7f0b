"""Buckets by boto3: do commits hold there, and bundles in and out.

Keys come from the standard AWS_* variables alone and are never printed.
"""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lake.bundle import MANIFEST_FILE, verify_bundle
from lake.errors import CredentialsRefused, Misconfigured, NothingStored, Unavailable

_REFUSED = {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "403"}
_ABSENT = {"NoSuchBucket", "NoSuchKey", "404"}


def split(address: str) -> tuple[str, str]:
    """Bucket and prefix of s3a://bucket/prefix, the prefix without slashes at its ends.

    Raises:
        Misconfigured: it is no such address.
    """
    scheme, _, rest = address.partition("://")
    bucket, _, prefix = rest.partition("/")
    if scheme not in ("s3", "s3a") or not bucket:
        raise Misconfigured(f"{address!r}: expected s3a://bucket/prefix.")
    return bucket, prefix.strip("/")


def client() -> Any:
    """A boto3 client for the endpoint the environment names; path style where that is not AWS's own."""
    import boto3
    from botocore.config import Config

    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    style = "path" if endpoint else "auto"
    config = Config(connect_timeout=5, read_timeout=30, retries={"max_attempts": 3}, s3={"addressing_style": style})
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return boto3.Session().client("s3", endpoint_url=endpoint, region_name=region, config=config)


def probe(address: str) -> None:
    """Create an object under a random name, create it again, and be refused: what every Delta commit relies on.

    Raises:
        Misconfigured: the bucket is missing, or the store ignores `If-None-Match: *` and would lose commits.
        CredentialsRefused: the keys are missing or refused.
        Unavailable: nobody answers at the endpoint.
    """
    from botocore.exceptions import ClientError

    bucket, prefix = split(address)
    key = "/".join(part for part in (prefix, f"_probe/{uuid.uuid4().hex}") if part)
    with _explained(address):
        s3 = client()
        s3.put_object(Bucket=bucket, Key=key, Body=b"first", IfNoneMatch="*")
        try:
            s3.put_object(Bucket=bucket, Key=key, Body=b"second", IfNoneMatch="*")
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 412:
                raise
        else:
            raise Misconfigured(
                f"{address}: a second conditional PUT overwrote the first, so commits would be lost. "
                "Use a store that honours `If-None-Match: *`."
            )
        finally:
            s3.delete_object(Bucket=bucket, Key=key)


def upload_bundle(folder: Path, address: str) -> str:
    """Verify a bundle and copy it under the address, its manifest last; returns the manifest's SHA-256.

    Raises:
        BundleRejected: the folder does not fit its manifest.
    """
    from lake.bundle import sha256_file

    manifest = verify_bundle(folder)
    bucket, prefix = split(address)
    with _explained(address):
        s3 = client()
        for name in (*manifest.files, MANIFEST_FILE):
            s3.upload_file(str(folder / name), bucket, f"{prefix}/{name}".lstrip("/"))
    return sha256_file(folder / MANIFEST_FILE)


def download_bundle(address: str, folder: Path, expected_sha256: str) -> Path:
    """Copy a bundle into a new folder and verify it; nothing is left where it fails.

    Raises:
        BundleRejected: the manifest's digest or a file is not what was expected.
        NothingStored: there is no bundle.
    """
    import shutil

    from lake.bundle import parse_manifest

    bucket, prefix = split(address)
    folder.mkdir(parents=True)
    try:
        with _explained(address):
            s3 = client()
            body: bytes = s3.get_object(Bucket=bucket, Key=f"{prefix}/{MANIFEST_FILE}".lstrip("/"))["Body"].read()
            manifest = parse_manifest(body, expected_sha256)
            (folder / MANIFEST_FILE).write_bytes(body)
            for name in manifest.files:
                s3.download_file(bucket, f"{prefix}/{name}".lstrip("/"), str(folder / name))
        verify_bundle(folder, expected_sha256)
    except BaseException:
        shutil.rmtree(folder)
        raise
    return folder


@contextmanager
def _explained(address: str) -> Iterator[None]:
    """Say boto3's failures in our own words."""
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    try:
        yield
    except ClientError as error:
        code = str(error.response["Error"].get("Code", ""))
        if code in _REFUSED:
            raise CredentialsRefused(
                f"{address}: the store refused the key ({code}). Check AWS_ACCESS_KEY_ID."
            ) from None
        if code == "NoSuchBucket":
            raise Misconfigured(f"{address}: there is no such bucket. Create it, or correct LAKE_URI.") from None
        if code in _ABSENT:
            raise NothingStored(f"{address}: nothing is stored there ({code}).") from None
        raise Unavailable(f"{address}: {code or error}.") from None
    except NoCredentialsError:
        raise CredentialsRefused(
            f"{address}: no credentials. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        ) from None
    except BotoCoreError as error:
        raise Unavailable(f"{address}: {type(error).__name__}. Is AWS_ENDPOINT_URL right and reachable?") from None
