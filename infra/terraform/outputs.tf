output "lake_uri" {
  description = "The value of LAKE_URI."
  value       = "s3a://${aws_s3_bucket.lake.bucket}/lake"
}

output "role_arns" {
  description = "Role of each workload."
  value       = { for name, role in aws_iam_role.workload : name => role.arn }
}
