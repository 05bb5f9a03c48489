"""What S3 and the way to it answer, in sentences that name the cure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore import exceptions as boto

from bot.errors import SecretMissing, StoreError
from bot.settings import S3

QUOTED_CHARS = 200  # of another system's message

# Operation of the client: what a person calls it, and the permission that it needs.
OPERATIONS: Mapping[str, tuple[str, str]] = {
    "put_object": ("storing", "s3:PutObject"),
    "create_multipart_upload": ("storing", "s3:PutObject"),
    "upload_part": ("storing", "s3:PutObject"),
    "complete_multipart_upload": ("storing", "s3:PutObject"),
    "abort_multipart_upload": ("aborting the upload of", "s3:AbortMultipartUpload"),
    "list_multipart_uploads": ("listing open uploads in", "s3:ListBucketMultipartUploads"),
    "list_objects_v2": ("listing", "s3:ListBucket"),
    "list_object_versions": ("listing versions in", "s3:ListBucketVersions"),
    "head_object": ("looking up", "s3:GetObject and s3:ListBucket"),
    "get_object": ("reading", "s3:GetObject"),
    "delete_object": ("deleting", "s3:DeleteObject"),
    "get_public_access_block": ("reading the public access block of", "s3:GetBucketPublicAccessBlock"),
    "get_bucket_policy_status": ("reading the policy status of", "s3:GetBucketPolicyStatus"),
    "get_object_lock_configuration": ("reading the object lock of", "s3:GetBucketObjectLockConfiguration"),
    "get_bucket_lifecycle_configuration": ("reading the lifecycle rules of", "s3:GetLifecycleConfiguration"),
}

_OVERLOADED = "It answered so each time it was asked; run the capture again when it has recovered."
_EXPIRED = "The credentials have expired. Renew them, or give this machine a role that renews them itself."

# Codes and, where a HEAD brings no code, statuses. Codes of AWS:
# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html#ErrorCodeList
CURES: Mapping[str, str] = {
    "AccessDenied": "Access denied. Give the bot's credentials the permission {permission}{kms}.",
    "403": "Access denied. Give the bot's credentials the permission {permission}{kms}.",
    "NoSuchBucket": "There is no such bucket. Create it, or correct s3.bucket in capturebot.yml.",
    "NoSuchKey": "There is no such object.",
    "404": "There is no such object or bucket.",
    "PermanentRedirect": "The bucket lies in another region{region}. Correct s3.region in capturebot.yml.",
    "301": "The bucket lies in another region{region}. Correct s3.region in capturebot.yml.",
    "AuthorizationHeaderMalformed": "The bucket lies in another region{region}. Correct s3.region in capturebot.yml.",
    "IllegalLocationConstraintException": "The bucket lies in another region{region}. Correct s3.region in capturebot.yml.",
    "RequestTimeTooSkewed": "This machine's clock is more than 15 minutes off. Set it: timedatectl set-ntp true.",
    "ExpiredToken": _EXPIRED,
    "ExpiredTokenException": _EXPIRED,
    "TokenRefreshRequired": _EXPIRED,
    "InvalidToken": "The session token is not valid. Renew the credentials.",
    "InvalidAccessKeyId": "The access key is not known there. Put the right one where s3.access_key points; it is read at every use.",
    "SignatureDoesNotMatch": "The secret key does not fit the access key. Put its own where s3.secret_key points; it is read at every use.",
    "PreconditionFailed": "Somebody else stored this key at the same time; theirs was kept. Run the capture again.",
    "412": "Somebody else stored this key at the same time; theirs was kept. Run the capture again.",
    "ConditionalRequestConflict": "Somebody else writes this key at the same time. Run the capture again.",
    "KMS.NotFoundException": "The encryption key does not exist. Correct s3.kms_key in capturebot.yml.",
    "KMS.DisabledException": "The encryption key is disabled. Enable it, or choose another s3.kms_key.",
    "KMS.KMSInvalidStateException": "The encryption key cannot be used now. Enable it, or choose another s3.kms_key.",
    "507": "The store is full. Free space there.",
    "InsufficientStorage": "The store is full. Free space there.",
    "XMinioStorageFull": "The store is full. Free space there.",
    "QuotaExceeded": "The bucket's quota is used up. Free space there, or raise the quota.",
    "SlowDown": _OVERLOADED,
    "ServiceUnavailable": _OVERLOADED,
    "InternalError": _OVERLOADED,
}
# Codes that speak of keys and not of what they may do. A HEAD brings none of them.
KEYS_REFUSED = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "ExpiredTokenException",
    "TokenRefreshRequired",
    "InvalidToken",
}
OVERLOADED_STATUSES = {429, 500, 502, 503, 504}


class S3Refusal(StoreError):
    """S3 answered, with an error: *status* is HTTP's, *code* is S3's ("" where a HEAD brought none)."""

    def __init__(self, reason: str, *, status: int, code: str) -> None:
        super().__init__(reason)
        self.status = status
        self.code = code


def of_answer(error: boto.ClientError, *, operation: str, place: str, settings: S3) -> S3Refusal:
    """Put an error that S3 answered into words."""
    answer: Mapping[str, Any] = error.response
    detail, meta = answer.get("Error", {}), answer.get("ResponseMetadata", {})
    code, status = str(detail.get("Code", "")), int(meta.get("HTTPStatusCode", 0))
    doing, permission = OPERATIONS[operation]
    if permission == "s3:PutObject" and settings.retention:
        permission = "s3:PutObject and s3:PutObjectTagging"
    region = detail.get("Region") or meta.get("HTTPHeaders", {}).get("x-amz-bucket-region")
    cure = CURES.get(code) or CURES.get(str(status))
    if cure is None and status in OVERLOADED_STATUSES:
        cure = _OVERLOADED
    if cure is None:
        cure = f"{_short(detail.get('Message', ''))} Check the s3 section of capturebot.yml.".strip()
    told = cure.format(
        permission=permission,
        kms=", and kms:GenerateDataKey and kms:Decrypt on the key" if settings.kms_key or settings.keys else "",
        region=f" ({region})" if region else "",
    )
    label = " ".join(dict.fromkeys(word for word in (str(status or ""), code) if word))
    reason = f"S3 refused {doing} s3://{settings.bucket}/{place} ({label}). {told}"
    return S3Refusal(reason, status=status, code=code)


def of_keys(missing: SecretMissing, *, operation: str, place: str, settings: S3) -> StoreError:
    """Put keys that cannot be had now into words."""
    doing, _ = OPERATIONS[operation]
    return StoreError(f"{doing.capitalize()} s3://{settings.bucket}/{place} failed: {missing.reason}")


def of_way(error: Exception, *, operation: str, place: str, within_s: float, settings: S3) -> StoreError:
    """Put an error on the way to S3, before or in place of an answer, into words."""
    where = settings.endpoint_url or f"S3 in {settings.region}"
    doing, _ = OPERATIONS[operation]
    failed = f"{doing.capitalize()} s3://{settings.bucket}/{place} failed:"
    match error:
        case boto.NoCredentialsError() | boto.PartialCredentialsError() | boto.CredentialRetrievalError():
            return StoreError(
                f"{failed} there are no credentials. Set s3.access_key and s3.secret_key, or give this machine a role."
            )
        case boto.SSLError():
            return StoreError(
                f"{failed} the TLS certificate of {where} was not accepted ({_short(error.kwargs.get('error', ''))}). "
                "Correct s3.endpoint_url, or name the file of its authority in the variable AWS_CA_BUNDLE."
            )
        case TimeoutError() | boto.ReadTimeoutError() | boto.ConnectTimeoutError():
            return StoreError(
                f"{failed} {where} did not answer in time (at most {within_s:.0f} s). "
                "Check the network to it, and run the capture again."
            )
        case boto.EndpointConnectionError() | boto.ProxyConnectionError():
            return StoreError(
                f"{failed} no connection to {where}. Check s3.endpoint_url and s3.region, name resolution and firewall."
            )
        case boto.HTTPClientError():
            return StoreError(f"{failed} the connection to {where} broke, more than once. Check the network to it.")
        case _:
            return StoreError(f"{failed} {_short(error)} Check the s3 section of capturebot.yml.")


def _short(text: object) -> str:
    return " ".join(str(text).split())[:QUOTED_CHARS]
