variable "region" {
  description = "AWS region of the lake; live runs closest to the venue, the lake closest to live."
  type        = string
  default     = "ap-northeast-1"
}

variable "environment" {
  description = "dev or prod; part of every name."
  type        = string
  validation {
    condition     = contains(["dev", "prod"], var.environment)
    error_message = "environment must be dev or prod."
  }
}

variable "bucket_name" {
  description = "Globally unique name of the lake's bucket; LAKE_URI is s3a://<bucket_name>/lake."
  type        = string
}

variable "trusted_principals" {
  description = "Per workload (jobs, training, live) the ARN that may assume its role, e.g. an ECS task or EC2 instance role."
  type        = map(string)
  validation {
    condition     = toset(keys(var.trusted_principals)) == toset(["jobs", "training", "live"])
    error_message = "trusted_principals needs exactly jobs, training and live."
  }
}

variable "bronze_archive_days" {
  description = "Bronze files older than this move to infrequent access; they are read only to rebuild."
  type        = number
  default     = 90
}
