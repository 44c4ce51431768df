# Who each part is, and what it may do. Rights are as narrow as the calls of the adapters in shared/adapters: roles of our own where
# Google's are wider, and granted on the topic, secret or bucket wherever that can be.

resource "google_service_account" "step" {
  for_each     = local.deployed
  account_id   = "step-${local.service[each.key]}"
  display_name = "Runs ${each.key}"
  depends_on   = [google_project_service.api]
}

# Who calls a private step: Pub/Sub's push or the Scheduler, with a token for this account. A step checks its name.
resource "google_service_account" "caller" {
  for_each     = local.private
  account_id   = "call-${local.service[each.key]}"
  display_name = "Calls ${each.key}"
  depends_on   = [google_project_service.api]
}

# --- Firestore: the permissions that its documentation names for each method, one role a step
# https://cloud.google.com/firestore/docs/security/iam

resource "google_project_iam_custom_role" "store" {
  for_each    = { for step, given in local.deployed : step => given.store if length(given.store) > 0 }
  role_id     = "pipeline_store_${each.key}"
  title       = "Subscriber Pipeline: what ${each.key} does with documents"
  permissions = [for verb in each.value : "datastore.entities.${verb}"]
  depends_on  = [google_project_service.api]
}

# On the project, because Firestore knows no narrower place; the condition keeps it to our database.
resource "google_project_iam_member" "store" {
  for_each = google_project_iam_custom_role.store
  project  = var.project
  role     = each.value.id
  member   = google_service_account.step[each.key].member
  condition {
    title      = "our-database"
    expression = "resource.name == \"projects/${var.project}/databases/${google_firestore_database.this.name}\""
  }
}

# --- Pub/Sub

resource "google_pubsub_topic_iam_member" "publisher" {
  for_each = merge([for step, given in local.deployed : { for topic in given.publishes : "${step} ${topic}" => { step = step, topic = topic } }]...)
  topic    = google_pubsub_topic.events[each.value.topic].name
  role     = "roles/pubsub.publisher"
  member   = google_service_account.step[each.value.step].member
}

# Pub/Sub signs each push as the caller. An agent that was asked for, instead of being made by use, is granted nothing by itself.
resource "google_service_account_iam_member" "push" {
  for_each           = local.pushed
  service_account_id = google_service_account.caller[each.key].name
  role               = "roles/iam.serviceAccountOpenIdTokenCreator"
  member             = google_project_service_identity.pubsub.member
}

# Pub/Sub itself moves what a step keeps refusing.
resource "google_pubsub_topic_iam_member" "dead" {
  for_each = local.subscriptions
  topic    = google_pubsub_topic.dead[each.key].name
  role     = "roles/pubsub.publisher"
  member   = google_project_service_identity.pubsub.member
}

resource "google_pubsub_subscription_iam_member" "dead" {
  for_each     = local.subscriptions
  subscription = google_pubsub_subscription.push[each.key].name
  role         = "roles/pubsub.subscriber"
  member       = google_project_service_identity.pubsub.member
}

# --- Secrets

resource "google_project_iam_custom_role" "secret" {
  role_id     = "pipeline_secret"
  title       = "Subscriber Pipeline: the versions of a secret"
  permissions = ["secretmanager.versions.access", "secretmanager.versions.list"]
  depends_on  = [google_project_service.api]
}

resource "google_secret_manager_secret_iam_member" "reader" {
  for_each  = merge([for step, given in local.deployed : { for secret in given.secrets : "${step} ${secret}" => { step = step, secret = secret } }]...)
  secret_id = google_secret_manager_secret.this[each.value.secret].secret_id
  role      = google_project_iam_custom_role.secret.id
  member    = google_service_account.step[each.value.step].member
}

resource "google_secret_manager_secret_iam_member" "given" {
  for_each  = local.given
  secret_id = google_secret_manager_secret.this[each.key].secret_id
  role      = google_project_iam_custom_role.secret.id
  member    = google_service_account.step[each.value].member
}

# --- Objects

resource "google_project_iam_custom_role" "objects" {
  for_each    = { for step, given in local.deployed : step => given.objects if length(given.objects) > 0 }
  role_id     = "pipeline_objects_${each.key}"
  title       = "Subscriber Pipeline: what ${each.key} does with files"
  permissions = [for verb in each.value : "storage.objects.${verb}"]
  depends_on  = [google_project_service.api]
}

resource "google_storage_bucket_iam_member" "objects" {
  for_each = google_project_iam_custom_role.objects
  bucket   = google_storage_bucket.objects.name
  role     = each.value.id
  member   = google_service_account.step[each.key].member

  # Who deletes may do so with lists of addresses alone, never with a frozen mail; listing asks for the bucket.
  dynamic "condition" {
    for_each = contains(local.steps[each.key].objects, "delete") ? [google_storage_bucket.objects.name] : []
    content {
      title = "lists_of_addresses"
      expression = join(" || ", concat(
        ["resource.type == \"storage.googleapis.com/Bucket\""],
        [for folder in ["callbacks", "exports"] : "resource.name.startsWith(\"projects/_/buckets/${condition.value}/objects/${folder}/\")"],
      ))
    }
  }
}

# --- Building the functions

resource "google_service_account" "builder" {
  account_id   = "build-functions"
  display_name = "Builds the functions"
  depends_on   = [google_project_service.api]
}

resource "google_project_iam_member" "builder" {
  project = var.project
  role    = "roles/logging.logWriter"
  member  = google_service_account.builder.member
}

resource "google_artifact_registry_repository_iam_member" "builder" {
  for_each   = google_artifact_registry_repository.images
  repository = each.value.name
  location   = each.key
  role       = "roles/artifactregistry.writer"
  member     = google_service_account.builder.member
}

# Cloud Functions copies our archives into a bucket of its own, gcf-v2-sources-…, and the build reads them there.
resource "google_project_iam_member" "sources" {
  project = var.project
  role    = "roles/storage.objectViewer"
  member  = google_service_account.builder.member
  condition {
    title      = "copied-sources"
    expression = "resource.name.startsWith(\"projects/_/buckets/gcf-v2-\")"
  }
}
