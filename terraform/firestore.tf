# Documents. Firestore indexes every field of every document unless told otherwise; we tell it otherwise: only what a query asks for
# has an index, so that a write touches few of them and no index on a time becomes a hot spot.

locals {
  # collection group => field => order or array_config. A test compares this with the queries that the tests issued.
  indexes = {
    batches      = { due = "ASCENDING", group = "ASCENDING", leftover = "ASCENDING", state = "ASCENDING", unsettled = "ASCENDING" }
    callbacks    = {}
    campaigns    = { active = "ASCENDING" }
    console      = {}
    consents     = {}
    deliveries   = { first_at = "ASCENDING", labels = "CONTAINS" } # first_at grows: only mails of the system's own have it
    endpoints    = {}
    erasures     = { due = "ASCENDING", told = "ASCENDING" }
    lifts        = {}
    limits       = {}
    marks        = { due = "ASCENDING" }
    minutes      = {}
    providers    = {}
    reports      = { newest = "ASCENDING" }
    segments     = {}
    summaries    = {}
    subscribers  = { asked_at = "ASCENDING", segments = "CONTAINS", status = "ASCENDING" } # asked_at grows: 500 sign-ups a second at most
    suppressions = { reasons = "CONTAINS" }
    tenants      = {}
  }

  # collection group => the field that holds the time after which a document may go.
  expiring = { batches = "expires_at", callbacks = "expires_at", limits = "expires_at", minutes = "expires_at" }
}

resource "google_firestore_database" "this" {
  name                              = var.firestore_database
  location_id                       = var.firestore_location
  type                              = "FIRESTORE_NATIVE"
  concurrency_mode                  = "PESSIMISTIC"
  point_in_time_recovery_enablement = "POINT_IN_TIME_RECOVERY_ENABLED"
  delete_protection_state           = "DELETE_PROTECTION_ENABLED"
  deletion_policy                   = "ABANDON"
  depends_on                        = [google_project_service.api]

  lifecycle {
    prevent_destroy = true
  }
}

# What no line above names is not indexed.
resource "google_firestore_field" "none" {
  for_each   = local.indexes
  database   = google_firestore_database.this.name
  collection = each.key
  field      = "*"
  index_config {}
}

resource "google_firestore_field" "indexed" {
  for_each   = merge([for collection, fields in local.indexes : { for field, kind in fields : "${collection}.${field}" => { collection = collection, field = field, kind = kind } }]...)
  database   = google_firestore_database.this.name
  collection = each.value.collection
  field      = each.value.field
  index_config {
    indexes {
      order        = each.value.kind == "CONTAINS" ? null : each.value.kind
      array_config = each.value.kind == "CONTAINS" ? "CONTAINS" : null
      query_scope  = "COLLECTION"
    }
  }
  depends_on = [google_firestore_field.none]
}

resource "google_firestore_field" "expiring" {
  for_each   = local.expiring
  database   = google_firestore_database.this.name
  collection = each.key
  field      = each.value
  index_config {}
  ttl_config {}
  depends_on = [google_firestore_field.none]
}

# Restoring: docs/operations.md.
resource "google_firestore_backup_schedule" "daily" {
  database  = google_firestore_database.this.name
  retention = "1209600s" # 14 days
  daily_recurrence {}
}
