# Topics, the push subscriptions of the private steps, and where their dead letters wait to be replayed (docs/operations.md).

locals {
  topics = toset(concat(values(local.pushed), flatten([for given in values(local.deployed) : given.publishes])))

  # Name => whom it pushes what: one a step, but of notify one an endpoint. Each endpoint has its own retries and dead letters.
  subscriptions = merge(
    { for step, topic in local.pushed : step => { step = step, topic = topic } if step != "notify" },
    { for one in var.events_out : "notify-${one.name}" => { step = "notify", topic = local.pushed.notify } },
  )
}

resource "google_pubsub_topic" "events" {
  # checkov:skip=CKV_GCP_83:messages hold ids, never an address; Google's own keys do, and cost nothing
  for_each   = local.topics
  name       = each.key
  depends_on = [google_project_service.api]
}

resource "google_pubsub_topic" "dead" {
  # checkov:skip=CKV_GCP_83:a dead letter holds ids, as the message did
  for_each   = local.subscriptions
  name       = "${each.key}-dead"
  depends_on = [google_project_service.api]
}

resource "google_pubsub_subscription" "push" {
  for_each                   = local.subscriptions
  name                       = each.key
  topic                      = google_pubsub_topic.events[each.value.topic].id
  ack_deadline_seconds       = local.steps[each.value.step].timeout # of a push, the time that its request may take
  message_retention_duration = "2678400s"                           # 31 days, the most there is: a pause or an outage loses nothing

  expiration_policy {
    ttl = "" # never, however quiet it is
  }

  # Paused, it keeps its messages and pushes none.
  dynamic "push_config" {
    for_each = var.paused ? [] : [local.endpoint[each.value.step]]
    content {
      push_endpoint = push_config.value
      oidc_token {
        service_account_email = google_service_account.caller[each.value.step].email
        audience              = push_config.value
      }
    }
  }

  retry_policy {
    minimum_backoff = "10s"
    maximum_backoff = "600s"
  }

  dead_letter_policy {
    dead_letter_topic     = google_pubsub_topic.dead[each.key].id
    max_delivery_attempts = 100 # over these back-offs about 15 hours: most outages end by themselves
  }

  depends_on = [google_cloud_run_v2_service_iam_member.caller, google_service_account_iam_member.push]
}

# Nobody is pushed these: they wait for an operator.
resource "google_pubsub_subscription" "dead" {
  for_each                   = local.subscriptions
  name                       = "${each.key}-dead"
  topic                      = google_pubsub_topic.dead[each.key].id
  ack_deadline_seconds       = 60
  message_retention_duration = "2678400s" # 31 days, the most there is

  expiration_policy {
    ttl = ""
  }
}
