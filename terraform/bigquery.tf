# Every engagement event as a row in BigQuery, written by Pub/Sub itself, for questions of one's own (docs/analytics.md). Made with
# bigquery = true alone.

resource "google_bigquery_dataset" "engagement" {
  # checkov:skip=CKV_GCP_81:rows hold ids, never an address; Google's own keys do, and cost nothing
  count       = var.bigquery ? 1 : 0
  dataset_id  = "engagement"
  location    = local.bucket_location
  description = "What happened to mails"
  depends_on  = [google_project_service.api]
}

# Partitioned by the UTC day that something happened on: `at` is milliseconds, which only a range can cut. 10,000 partitions are the
# most there are: they begin with 2026 and reach into 2053. https://cloud.google.com/bigquery/docs/partitioned-tables
resource "google_bigquery_table" "events" {
  # checkov:skip=CKV_GCP_80:rows hold ids, never an address; Google's own keys do, and cost nothing
  count                    = var.bigquery ? 1 : 0
  dataset_id               = google_bigquery_dataset.engagement[0].dataset_id
  table_id                 = "events"
  schema                   = file("${path.module}/events.schema.json")
  clustering               = ["type", "ref"] # a ref begins with its campaign
  require_partition_filter = true            # a question without a time would be billed for all there is
  deletion_protection      = true

  range_partitioning {
    field = "at"
    range {
      start    = 1767225600000
      end      = 2631225600000
      interval = 86400000
    }
  }
}

# The role that Pub/Sub's documentation names, on this table alone.
# https://cloud.google.com/pubsub/docs/create-bigquery-subscription
resource "google_bigquery_table_iam_member" "writer" {
  count      = var.bigquery ? 1 : 0
  dataset_id = google_bigquery_table.events[0].dataset_id
  table_id   = google_bigquery_table.events[0].table_id
  role       = "roles/bigquery.dataEditor"
  member     = google_project_service_identity.pubsub.member
}

resource "google_pubsub_subscription" "bigquery" {
  count                      = var.bigquery ? 1 : 0
  name                       = "bigquery"
  topic                      = google_pubsub_topic.events["engagement-events"].id
  message_retention_duration = "2678400s" # 31 days, the most there is

  bigquery_config {
    table               = "${var.project}.${google_bigquery_table.events[0].dataset_id}.${google_bigquery_table.events[0].table_id}"
    use_table_schema    = true
    drop_unknown_fields = true # of a version that is being deployed: the column comes with the same apply
  }

  expiration_policy {
    ttl = ""
  }

  retry_policy {
    minimum_backoff = "10s"
    maximum_backoff = "600s"
  }

  dead_letter_policy {
    dead_letter_topic     = google_pubsub_topic.bigquery_dead[0].id
    max_delivery_attempts = 100
  }

  depends_on = [google_bigquery_table_iam_member.writer]
}

resource "google_pubsub_topic" "bigquery_dead" {
  # checkov:skip=CKV_GCP_83:a dead letter holds ids, as the message did
  count      = var.bigquery ? 1 : 0
  name       = "bigquery-dead"
  depends_on = [google_project_service.api]
}

resource "google_pubsub_subscription" "bigquery_dead" {
  count                      = var.bigquery ? 1 : 0
  name                       = "bigquery-dead"
  topic                      = google_pubsub_topic.bigquery_dead[0].id
  ack_deadline_seconds       = 60
  message_retention_duration = "2678400s"

  expiration_policy {
    ttl = ""
  }
}

resource "google_pubsub_topic_iam_member" "bigquery_dead" {
  count  = var.bigquery ? 1 : 0
  topic  = google_pubsub_topic.bigquery_dead[0].name
  role   = "roles/pubsub.publisher"
  member = google_project_service_identity.pubsub.member
}

resource "google_pubsub_subscription_iam_member" "bigquery_dead" {
  count        = var.bigquery ? 1 : 0
  subscription = google_pubsub_subscription.bigquery[0].name
  role         = "roles/pubsub.subscriber"
  member       = google_project_service_identity.pubsub.member
}
