# Offline: the provider is mocked, what is asserted is what the configuration asks for.
mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
  mock_resource "aws_s3_bucket" {
    defaults = { arn = "arn:aws:s3:::lake-test" }
  }
  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:ap-northeast-1:111111111111:key/11111111-1111-1111-1111-111111111111" }
  }
}

variables {
  environment = "dev"
  bucket_name = "lake-test"
  trusted_principals = {
    jobs     = "arn:aws:iam::111111111111:role/jobs"
    training = "arn:aws:iam::111111111111:role/training"
    live     = "arn:aws:iam::111111111111:role/live"
  }
}

run "bucket_is_closed_and_encrypted" {
  assert {
    condition = alltrue([
      aws_s3_bucket_public_access_block.lake.block_public_acls,
      aws_s3_bucket_public_access_block.lake.block_public_policy,
      aws_s3_bucket_public_access_block.lake.ignore_public_acls,
      aws_s3_bucket_public_access_block.lake.restrict_public_buckets,
    ])
    error_message = "the lake's bucket must block every public access"
  }
  assert {
    condition     = one(one(aws_s3_bucket_server_side_encryption_configuration.lake.rule).apply_server_side_encryption_by_default).sse_algorithm == "aws:kms"
    error_message = "the lake must be encrypted with its own key"
  }
  assert {
    condition     = aws_kms_key.lake.enable_key_rotation
    error_message = "the key must rotate"
  }
  assert {
    condition     = one(data.aws_iam_policy_document.tls_only.statement).effect == "Deny"
    error_message = "plain HTTP must be denied"
  }
}

run "roles_are_least_privilege" {
  assert {
    condition     = length([for s in data.aws_iam_policy_document.workload["live"].statement : s if s.sid == "Write"]) == 0
    error_message = "live must not write to the bucket"
  }
  assert {
    condition = alltrue([
      for s in data.aws_iam_policy_document.workload["live"].statement :
      alltrue([for r in s.resources : !strcontains(r, "/lake/")])
    ])
    error_message = "live must not read the lake"
  }
  assert {
    condition = alltrue(flatten([
      for d in data.aws_iam_policy_document.workload : [for s in d.statement : [for a in s.actions : !endswith(a, "*")]]
    ]))
    error_message = "no role may use a wildcard action"
  }
  assert {
    condition     = toset(keys(aws_iam_role.workload)) == toset(["jobs", "training", "live"])
    error_message = "one role each for jobs, training and live"
  }
}

run "environment_is_checked" {
  command = plan
  variables {
    environment = "staging"
  }
  expect_failures = [var.environment]
}
