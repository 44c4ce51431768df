# Cloud Build deploys what is pushed to main, when a repository is named (cloudbuild.yaml).

locals {
  # What Terraform changes, and what the smoke test and the shift of traffic read.
  deployer_roles = var.repository == null ? [] : concat([
    "roles/artifactregistry.admin",
    "roles/cloudbuild.builds.editor",
    "roles/cloudfunctions.admin",
    "roles/cloudscheduler.admin",
    "roles/datastore.owner",
    "roles/iam.roleAdmin",
    "roles/iam.serviceAccountAdmin",
    "roles/iam.serviceAccountUser",
    "roles/logging.configWriter",
    "roles/logging.logWriter",
    "roles/monitoring.editor",
    "roles/pubsub.admin",
    "roles/resourcemanager.projectIamAdmin",
    "roles/run.admin",
    "roles/secretmanager.admin",
    "roles/serviceusage.serviceUsageAdmin",
    "roles/storage.admin",
  ], var.bigquery ? ["roles/bigquery.dataOwner"] : [], var.domain == null ? [] : ["roles/compute.loadBalancerAdmin"])
}

resource "google_service_account" "deployer" {
  count        = var.repository == null ? 0 : 1
  account_id   = "deployer"
  display_name = "Deploys from Cloud Build"
  depends_on   = [google_project_service.api]
}

resource "google_project_iam_member" "deployer" {
  # checkov:skip=CKV_GCP_41:it deploys functions that run as an account a step; those accounts may not be there yet
  # checkov:skip=CKV_GCP_49:it makes these accounts, and deploys functions that run as them; only pushes to main reach it
  for_each = toset(local.deployer_roles)
  project  = var.project
  role     = each.key
  member   = google_service_account.deployer[0].member
}

# The budget belongs to the billing account, which is outside the project.
resource "google_billing_account_iam_member" "deployer" {
  provider           = google.billing
  count              = var.repository == null || var.budget == null ? 0 : 1
  billing_account_id = var.budget.billing_account
  role               = "roles/billing.costsManager"
  member             = google_service_account.deployer[0].member
}

resource "google_cloudbuild_trigger" "main" {
  count           = var.repository == null ? 0 : 1
  name            = "deploy-main"
  location        = split("/", var.repository)[3] # where the repository is connected
  filename        = "cloudbuild.yaml"
  service_account = google_service_account.deployer[0].id

  repository_event_config {
    repository = var.repository
    push {
      branch = "^main$"
    }
  }

  substitutions = {
    _STATE_BUCKET = var.state_bucket
    _VARIABLES = jsonencode({ # what was planned with here is planned with there
      alert_email        = var.alert_email
      bigquery           = var.bigquery
      bounce_domain      = var.bounce_domain
      budget             = var.budget
      captcha            = var.captcha
      conversion_domains = var.conversion_domains
      retention_days     = var.retention_days
      dkim               = var.dkim
      domain             = var.domain
      events_out         = var.events_out
      firestore_database = var.firestore_database
      firestore_location = var.firestore_location
      inbox              = var.inbox
      mail_providers     = var.mail_providers
      paused             = var.paused
      project            = var.project
      regions            = var.regions
      repository         = var.repository
      smoke_address      = var.smoke_address
      state_bucket       = var.state_bucket
      tenant             = var.tenant
      webhook_providers  = var.webhook_providers
    })
  }

  depends_on = [google_project_iam_member.deployer]
}
