# Files: what steps keep (frozen mails), the functions' sources and their images.

locals {
  # eur3 and nam5 are Firestore's names; Cloud Storage calls the same places eu and us.
  bucket_location = lookup({ eur3 = "EU", nam5 = "US", nam7 = "US" }, var.firestore_location, upper(var.firestore_location))
}

resource "google_storage_bucket" "objects" {
  # checkov:skip=CKV_GCP_62:access logs of buckets are an older way; who reads is in Cloud Audit Logs, when turned on
  name                        = "${var.project}-objects"
  location                    = local.bucket_location
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  # Nothing is ever overwritten; versions and soft deletion are for an operator's slip.
  versioning {
    enabled = true
  }
  soft_delete_policy {
    retention_duration_seconds = 604800
  }
  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      days_since_noncurrent_time = 30
    }
  }
  # Who is to get a mail, by slot: needed until its batches are cut.
  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      age            = 90
      matches_prefix = ["rosters/"]
      with_state     = "LIVE"
    }
  }

  # Callbacks that were not understood, as they came: they may hold addresses.
  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      age            = 30
      matches_prefix = ["callbacks/"]
      with_state     = "LIVE"
    }
  }

  depends_on = [google_project_service.api]

  lifecycle {
    prevent_destroy = true
  }
}

# The pictures in mails: launch puts them there, under their hash. An operator may add more: gcloud storage cp logo.png
# gs://PROJECT-assets/assets/ and ASSETS_URL/logo.png shows it. Mails already out go on asking for them: a new picture gets a new name,
# and none is removed.
resource "google_storage_bucket" "assets" {
  # checkov:skip=CKV_GCP_62:public pictures; nobody needs to know who looked
  # checkov:skip=CKV_GCP_78:an object is named by its content and never changes
  # checkov:skip=CKV_GCP_114:the pictures in mails are for everybody
  name                        = local.assets_bucket
  location                    = local.bucket_location
  uniform_bucket_level_access = true
  public_access_prevention    = "inherited" # an organisation may still forbid public buckets
  depends_on                  = [google_project_service.api]
}

# Anybody may fetch what they know the name of; roles/storage.objectViewer would also let them list everything.
resource "google_storage_bucket_iam_member" "assets" {
  # checkov:skip=CKV_GCP_28:the pictures in mails are for everybody
  bucket = google_storage_bucket.assets.name
  role   = "roles/storage.legacyObjectReader"
  member = "allUsers"
}

# Only new ones: nothing here is ever replaced.
resource "google_storage_bucket_iam_member" "pictures" {
  bucket = google_storage_bucket.assets.name
  role   = "roles/storage.objectCreator"
  member = google_service_account.step["launch"].member
}

resource "google_storage_bucket" "sources" {
  # checkov:skip=CKV_GCP_62:holds our own code alone
  # checkov:skip=CKV_GCP_78:an object is named by its content and never changes
  name                        = "${var.project}-sources"
  location                    = upper(local.region)
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = true
  depends_on                  = [google_project_service.api]
}

# The built functions. Of each, the newest images stay: Cloud Run keeps what it serves by itself.
resource "google_artifact_registry_repository" "images" {
  # checkov:skip=CKV_GCP_84:the images hold this repository's code and public packages, no secret
  for_each      = toset(var.regions) # a function's image has to be beside it
  repository_id = "functions"
  location      = each.key
  format        = "DOCKER"
  description   = "Images of the functions"

  cleanup_policies {
    id     = "newest"
    action = "KEEP"
    most_recent_versions {
      keep_count = 3
    }
  }
  cleanup_policies {
    id     = "old"
    action = "DELETE"
    condition {
      older_than = "604800s"
    }
  }

  depends_on = [google_project_service.api]
}
