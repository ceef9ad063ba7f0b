# The lake's bucket, its key and one least-privilege role per workload. Everything else (Airflow, Spark, live) is not
# here yet. `terraform test` runs offline against a mocked provider; nothing here was applied to an account.
terraform {
  required_version = ">= 1.10"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

provider "aws" {
  region = var.region
  default_tags {
    tags = { project = "bitacora", environment = var.environment }
  }
}
