"""boto3 as a program: a JSON array [operation, argument...] a line on stdin, a JSON object a line on stdout, {"value"} or {"error"}."""
import json
import sys

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config

settings = json.loads(sys.argv[1])
kms = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": settings["keyArn"]}
parts = TransferConfig(multipart_threshold=settings["partSize"], multipart_chunksize=settings["partSize"])
session = boto3.session.Session(
    aws_access_key_id=settings["accessKeyId"],
    aws_secret_access_key=settings["secretAccessKey"],
    region_name=settings["region"],
)
config = Config(signature_version=settings["signature"], retries={"max_attempts": 1}, s3={"addressing_style": "path"})
s3 = session.client("s3", endpoint_url=settings["url"], config=config)
resource = session.resource("s3", endpoint_url=settings["url"], config=config)


def list_objects(bucket):
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, PaginationConfig={"PageSize": 2})
    return [f"{entry['Size']} {entry['Key']}" for page in pages for entry in page.get("Contents", [])]


def get_range(bucket, key, first, last):
    return s3.get_object(Bucket=bucket, Key=key, Range=f"bytes={first}-{last}")["Body"].read().hex()


def presigned(bucket, key):
    return s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=60)


def presigned_put(bucket, key):
    return s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": key, **kms}, ExpiresIn=60)


def presigned_post(bucket, key):
    fields = {
        "x-amz-server-side-encryption": "aws:kms",
        "x-amz-server-side-encryption-aws-kms-key-id": settings["keyArn"],
    }
    conditions = [{name: value} for name, value in fields.items()]
    return s3.generate_presigned_post(bucket, key, Fields=fields, Conditions=conditions, ExpiresIn=60)


operations = {
    "makeBucket": lambda bucket: s3.create_bucket(Bucket=bucket) and None,
    "put": lambda file, bucket, key: s3.upload_file(file, bucket, key, ExtraArgs=kms, Config=parts),
    "get": lambda bucket, key, file: s3.download_file(bucket, key, file, Config=parts),
    "range": get_range,
    "copy": lambda bucket, a, b: s3.copy({"Bucket": bucket, "Key": a}, bucket, b, ExtraArgs=kms, Config=parts),
    "list": list_objects,
    "remove": lambda bucket, key: s3.delete_object(Bucket=bucket, Key=key) and None,
    "empty": lambda bucket: resource.Bucket(bucket).objects.all().delete() and None,
    "removeBucket": lambda bucket: s3.delete_bucket(Bucket=bucket) and None,
    "presigned": presigned,
    "presignedPut": presigned_put,
    "presignedPost": presigned_post,
}

for line in sys.stdin:
    name, *arguments = json.loads(line)
    try:
        answer = {"value": operations[name](*arguments)}
    except Exception as error:  # whatever it is, the test wants to read it
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
