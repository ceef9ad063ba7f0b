# Who may do what to which prefix. jobs own the lake; training reads it, writes models and the promotion audit; live
# reads models and nothing of the lake: it survives without it.
locals {
  workloads = {
    jobs     = { read = ["lake/*"], write = ["lake/*"] }
    training = { read = ["lake/*", "mlflow/*"], write = ["mlflow/*", "lake/gold/promotions_v1/*"] }
    live     = { read = ["mlflow/*"], write = [] }
  }
}

data "aws_iam_policy_document" "assume" {
  for_each = local.workloads
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "AWS"
      identifiers = [var.trusted_principals[each.key]]
    }
  }
}

resource "aws_iam_role" "workload" {
  for_each             = local.workloads
  name                 = "bitacora-${var.environment}-${each.key}"
  assume_role_policy   = data.aws_iam_policy_document.assume[each.key].json
  max_session_duration = 3600
}

data "aws_iam_policy_document" "workload" {
  for_each = local.workloads

  statement {
    sid       = "List"
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.lake.arn]
    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = each.value.read
    }
  }

  statement {
    sid       = "Read"
    actions   = ["s3:GetObject"]
    resources = [for prefix in each.value.read : "${aws_s3_bucket.lake.arn}/${prefix}"]
  }

  dynamic "statement" {
    for_each = length(each.value.write) > 0 ? [each.value.write] : []
    content {
      sid       = "Write"
      actions   = ["s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
      resources = [for prefix in statement.value : "${aws_s3_bucket.lake.arn}/${prefix}"]
    }
  }

  statement {
    sid       = "Key"
    actions   = length(each.value.write) > 0 ? ["kms:Decrypt", "kms:GenerateDataKey"] : ["kms:Decrypt"]
    resources = [aws_kms_key.lake.arn]
  }
}

resource "aws_iam_role_policy" "workload" {
  for_each = local.workloads
  name     = "lake"
  role     = aws_iam_role.workload[each.key].id
  policy   = data.aws_iam_policy_document.workload[each.key].json
}
