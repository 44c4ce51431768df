# What this needs: Terraform with write-only arguments (1.11), so that no secret is kept in the state.
terraform {
  required_version = ">= 1.11.0"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 7.30" # before, all_traffic_on_latest_revision = false was not sent
    }
    google-beta = {
      source  = "hashicorp/google-beta"
      version = "~> 7.30"
    }
    random = {
      source  = "hashicorp/random"
      version = "~> 3.7"
    }
  }

  backend "gcs" {
    prefix = "subscriber-pipeline" # and: terraform init -backend-config=bucket=YOUR-STATE-BUCKET
  }
}

provider "google" {
  project        = var.project
  region         = local.region
  default_labels = { product = "subscriber-pipeline" }
}

provider "google-beta" {
  project = var.project
  region  = local.region
}

# Billing's API charges its quota to a project that is named in the call.
provider "google" {
  alias                 = "billing"
  project               = var.project
  billing_project       = var.project
  user_project_override = true
}

data "google_project" "this" {
  project_id = var.project
}
