# The services that this project calls. Turning them off again is left to a person: something else may use them.

locals {
  apis = toset(concat([
    "artifactregistry",
    "cloudbuild",
    "cloudfunctions",
    "cloudresourcemanager",
    "cloudscheduler",
    "drive",
    "firestore",
    "iam",
    "iamcredentials",
    "logging",
    "monitoring",
    "pubsub",
    "run",
    "secretmanager",
    "sheets",
    "storage",
  ], var.bigquery ? ["bigquery"] : [], var.domain == null ? [] : ["compute"], var.budget == null ? [] : ["billingbudgets"], var.budget == null || var.repository == null ? [] : ["cloudbilling"]))
}

resource "google_project_service" "api" {
  for_each           = local.apis
  service            = "${each.key}.googleapis.com"
  disable_on_destroy = false
}

# Pub/Sub's own account in this project: it moves what a step keeps refusing to the dead letters.
resource "google_project_service_identity" "pubsub" {
  provider   = google-beta
  service    = "pubsub.googleapis.com"
  depends_on = [google_project_service.api]
}
