# What is watched: a metric for each entry that shared/logs.py counts, a knock at the door from outside, and the alerts. Each alert says
# what it means and what to do. docs/observability.md explains the entries, dashboard.tf draws them.

locals {
  # METRICS of shared/logs.py, in its order; a test compares the two. All are distributions: a counter would count entries, not mails.
  metrics = {
    mails_sent         = { description = "Mails that a provider accepted", unit = "1", labels = ["kind"] }
    mails_failed       = { description = "Mails refused, given up, or impossible to make", unit = "1", labels = ["kind"] }
    mails_deferred     = { description = "Hand-overs put off until later; a mail may be put off several times", unit = "1", labels = ["kind"] }
    mails_unknown      = { description = "Mails handed over whose answer was never seen", unit = "1", labels = ["kind"] }
    mails_suppressed   = { description = "Mails not made because the reader is suppressed", unit = "1", labels = ["kind"] }
    mails_skipped      = { description = "Mails not made because the reader left the segment or joined too late", unit = "1", labels = ["kind"] }
    mails_cancelled    = { description = "Mails not made because the campaign was cancelled", unit = "1", labels = ["kind"] }
    provider_latency   = { description = "A window of mails, from hand-over to the last answer", unit = "ms", labels = ["kind"] }
    push_latency       = { description = "Handling one pushed message", unit = "ms", labels = ["status"] }
    push_lag           = { description = "From publishing a message to handling it", unit = "ms", labels = ["status"] }
    request_latency    = { description = "Public requests that took over a second or failed on our side; no others", unit = "ms", labels = ["status"] }
    refused            = { description = "Webhooks, pushes and ticks without a valid proof of their sender", unit = "1", labels = ["status"] }
    single_mails_held  = { description = "Confirmations and links that wait: too many were asked for from one network, to one domain, or to one mailbox's spellings", unit = "1", labels = ["kind"] }
    dead_tokens        = { description = "Links whose proof does not hold, or no longer", unit = "1", labels = ["kind"] }
    captchas_unchecked = { description = "Sign-ups let through because their CAPTCHA could not be judged", unit = "1", labels = ["kind"] }
    sign_ups_unproven  = { description = "Form posts that proved nothing and were asked for one more click", unit = "1", labels = ["kind"] }
    tags_refused       = { description = "Tags that sign-ups named and the Settings do not let them set", unit = "1", labels = ["kind"] }
    sign_ups_held_off  = { description = "Sign-ups told to come again because too many came at once", unit = "1", labels = [] }
    replays            = { description = "Callbacks of providers that had been taken before, and published nothing", unit = "1", labels = ["provider"] }
    import_accepted    = { description = "Rows of the Import tab that were taken in", unit = "1", labels = [] }
    import_rejected    = { description = "Rows of the Import tab that were not", unit = "1", labels = [] }
    events_delivered   = { description = "Events that an endpoint of the operator's has taken", unit = "1", labels = ["endpoint"] }
    events_failed      = { description = "Attempts to post an event to an endpoint that failed; they are made again", unit = "1", labels = ["endpoint"] }
    events_dropped     = { description = "Events that were not posted because their endpoint is disabled", unit = "1", labels = ["endpoint"] }
    endpoints_disabled = { description = "Endpoints that get no more events: gone, or failing for days", unit = "1", labels = ["endpoint"] }
    swept_batches      = { description = "Batches that nobody held any more and the tick published again", unit = "1", labels = [] }
  }

  # Each bucket is that much wider than the one before it, so the borders end far beyond what can happen.
  buckets = {
    "1"  = { count = 24, growth = 2 }   # 1 to 16 million
    "ms" = { count = 66, growth = 1.4 } # 1 ms to seven weeks, each within 40%: a message waits 31 days at most
  }

  # The series in PromQL. A metric of several resource types gives an error unless one is named:
  # https://cloud.google.com/monitoring/promql/promql-mapping
  logged   = { for name in keys(local.metrics) : name => "logging_googleapis_com:user_${name}%s{monitored_resource=\"cloud_run_revision\"}" }
  mails    = { for name, series in local.logged : name => format(series, "_sum") } # the sum of what the entries say, not their number
  requests = "run_googleapis_com:request_count{monitored_resource=\"cloud_run_revision\",service_name=~\"%s\",response_code_class=~\"%s\"}"
  messages = "pubsub_googleapis_com:subscription_%s{monitored_resource=\"pubsub_subscription\",subscription_id=~\"%s\"}"

  public_services = join("|", [for step in local.public : local.service[step]])
  dead_names      = join("|", concat([for name in keys(local.subscriptions) : "${name}-dead"], google_pubsub_subscription.bigquery_dead[*].name))

  # Not those of notify: that an endpoint does not answer for a while is for its owner to see, and ends as a dead letter or a disabled one.
  push_names = join("|", [for name, given in local.subscriptions : name if given.step != "notify"])
}

resource "google_logging_metric" "this" {
  for_each         = local.metrics
  name             = each.key
  description      = each.value.description
  filter           = "resource.type=\"cloud_run_revision\" AND jsonPayload.metrics.${each.key}:*"
  value_extractor  = "EXTRACT(jsonPayload.metrics.${each.key})"
  label_extractors = { for label in concat(["step"], each.value.labels) : label => "EXTRACT(jsonPayload.${label})" }

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "DISTRIBUTION"
    unit        = each.value.unit
    dynamic "labels" {
      for_each = concat(["step"], each.value.labels)
      content {
        key        = labels.value
        value_type = "STRING"
      }
    }
  }

  bucket_options {
    exponential_buckets {
      num_finite_buckets = local.buckets[each.value.unit].count
      growth_factor      = local.buckets[each.value.unit].growth
      scale              = 1
    }
  }

  depends_on = [google_project_service.api]
}

# --- What must not be kept

# Cloud Run writes each request's whole URL, so every token of a link, with the reader's address. No step can prevent that, therefore
# it is thrown away before it is stored. A sink of your own needs the same exclusion. Cloud Run's metrics do not come from this log.
resource "google_logging_project_exclusion" "public_requests" {
  name        = "public-requests"
  description = "Requests to the public steps: their URLs hold the tokens of links"
  filter = join("\n", [
    "log_id(\"run.googleapis.com/requests\")",
    "resource.type=\"cloud_run_revision\"",
    "resource.labels.service_name=(${join(" OR ", [for step in local.public : "\"${local.service[step]}\""])})",
  ])
  depends_on = [google_project_service.api]
}

# --- Who is told

resource "google_monitoring_notification_channel" "email" {
  count        = var.alert_email == null ? 0 : 1
  display_name = "Subscriber Pipeline"
  type         = "email"
  labels       = { email_address = var.alert_email }
  depends_on   = [google_project_service.api]
}

# --- From outside: name, certificate, load balancer, subscribe, its store and its bus

resource "google_monitoring_uptime_check_config" "health" {
  display_name = "Subscriber Pipeline: sign-up page"
  period       = "900s" # each check wakes an instance and reads a document
  timeout      = "10s"  # a cold start included

  # Three places at least, or Google refuses: one failing alone is then the internet's fault, not ours. The nearest first.
  selected_regions = lookup({
    us           = ["USA_IOWA", "USA_VIRGINIA", "USA_OREGON"]
    northamerica = ["USA_IOWA", "USA_VIRGINIA", "USA_OREGON"]
    southamerica = ["SOUTH_AMERICA", "USA_VIRGINIA", "USA_IOWA"]
    asia         = ["ASIA_PACIFIC", "USA_OREGON", "EUROPE"]
    australia    = ["ASIA_PACIFIC", "USA_OREGON", "EUROPE"]
  }, split("-", local.region)[0], ["EUROPE", "USA_VIRGINIA", "USA_IOWA"])

  monitored_resource {
    type = "uptime_url"
    labels = {
      project_id = var.project
      host       = trimprefix(local.public_url, "https://")
    }
  }

  http_check {
    path         = "/subscribe/health"
    port         = 443
    use_ssl      = true
    validate_ssl = true
    accepted_response_status_codes {
      status_value = 200 # any dependency failing is a 503
    }
  }

  # Somebody else's page at our name would be a 200 as well.
  content_matchers {
    content = "\"store\": \"ok\""
    matcher = "CONTAINS_STRING"
  }

  depends_on = [google_project_service.api]

  # Another host is another check, and one that an alert names cannot be deleted.
  lifecycle {
    create_before_destroy = true
  }
}

# --- Alerts

locals {
  thresholds = {
    age     = 600  # seconds a message may wait: the longest back-off between two pushes
    quiet   = 10   # ticks in a row that did not succeed: nine may fail or be late
    errors  = 5    # answers 5xx of one public step in five minutes: a single one is retried by whoever asked
    share   = 0.05 # of an hour's mails may fail: providers close accounts that go on against more
    fewest  = 20   # mails must have failed for their share to mean anything
    leave   = 10   # dead unsubscribe links in an hour: mail programs cut a link now and then
    refused = 100  # calls without a proof in ten minutes: one scanner knocks less often
  }

  # What it means that a tick is not made.
  idle = {
    launch     = "no campaign starts and none that waits goes on"
    inbox      = "bounces wait in their mailbox, and who cannot be reached is mailed again; the log says whether it lets us in"
    report     = "campaigns' breakdowns are as they were"
    sync_sheet = "the Sheet stands still"
  }

  # name => what an alert asks in PromQL, for how long it must hold, whether it is about what var.paused stops, what to do
  alerts = merge({
    dead_letters = {
      title    = "Messages were given up", severity = "CRITICAL", moving = false, duration = "0s"
      query    = "max by (subscription_id) (${format(local.messages, "num_undelivered_messages", local.dead_names)}) > 0"
      text     = "A step refused the same message a hundred times, over about 15 hours. Nothing is lost: it waits 31 days. Find out why, repair it, then replay (docs/operations.md, dead letters)."
      commands = [for name in keys(local.subscriptions) : "gcloud pubsub subscriptions pull ${name}-dead --limit=10 --project=${var.project}"]
    }
    waiting = {
      title    = "Messages wait too long", severity = "ERROR", moving = true, duration = "300s"
      query    = "max by (subscription_id) (${format(local.messages, "oldest_unacked_message_age", local.push_names)}) > ${local.thresholds.age}"
      text     = "The oldest message has waited over ${local.thresholds.age} seconds: its step fails, or has too few instances for what comes in."
      commands = ["gcloud logging read 'labels.attempt>=2 AND severity>=WARNING' --freshness=1h --limit=20 --project=${var.project}"]
    }
    public_errors = {
      title    = "Readers get errors", severity = "CRITICAL", moving = false, duration = "0s"
      query    = "sum by (service_name) (increase(${format(local.requests, local.public_services, "5xx")}[5m])) > ${local.thresholds.errors}"
      text     = "A public step answers 5xx: sign-ups, clicks or unsubscribes do not get through. 503 means a dependency did not answer; 500 is in Error Reporting with its stack. If a deployment did it, go back to the revision before (docs/operations.md)."
      commands = ["gcloud logging read 'severity>=ERROR AND resource.labels.service_name=(${join(" OR ", [for step in local.public : local.service[step]])})' --freshness=1h --limit=20 --project=${var.project}"]
    }
    failed = {
      title    = "Many mails fail", severity = "ERROR", moving = false, duration = "0s"
      query    = "(sum(increase(${local.mails.mails_failed}[1h])) / (sum(increase(${local.mails.mails_failed}[1h])) + (sum(increase(${local.mails.mails_sent}[1h])) or vector(0)))) > ${local.thresholds.share} and sum(increase(${local.mails.mails_failed}[1h])) > ${local.thresholds.fewest}"
      text     = "Over ${local.thresholds.share * 100}% of the last hour's mails were refused or given up: a bad list, or a provider that turned against us. Pause the campaign in its row, then read what the provider says."
      commands = ["gcloud logging read 'jsonPayload.step=\"send_batch\" AND severity>=WARNING' --freshness=1h --limit=20 --project=${var.project}"]
    }
    unknown = {
      title    = "Mails of unknown fate", severity = "WARNING", moving = false, duration = "0s"
      query    = "sum(increase(${local.mails.mails_unknown}[30m])) > 0"
      text     = "A worker died between handing mails over and hearing the answer. They may have arrived, so they are never sent again. One window (50 mails) after a crash is the price; more of them means that workers die: look at memory, timeouts and the provider's latency."
      commands = ["gcloud logging read 'jsonPayload.metrics.mails_unknown:*' --freshness=2h --limit=20 --project=${var.project}"]
    }
    refused = {
      title    = "Many calls without a proof", severity = "WARNING", moving = false, duration = "0s"
      query    = "sum by (step) (increase(${local.mails.refused}[10m])) > ${local.thresholds.refused}"
      text     = "Somebody forges, or a key or an account is not the one a step expects: after a rotation it is the provider's webhook secret. All of them were refused. If they are real callbacks, renew the secret (docs/operations.md)."
      commands = ["gcloud logging read 'jsonPayload.metrics.refused:*' --freshness=1h --limit=20 --project=${var.project}"]
    }
    leave = {
      title    = "Unsubscribe links do not work", severity = "CRITICAL", moving = false, duration = "0s"
      query    = "sum(increase(${replace(local.mails.dead_tokens, "}", ",kind=\"leave\"}")}[1h])) > ${local.thresholds.leave}"
      text     = "More than ${local.thresholds.leave} unsubscribe links of the last hour did not prove themselves, and what they asked for was not done. If the signing key was rotated, enable its old version again: links in mails live for years."
      commands = ["gcloud secrets versions list signing-key --project=${var.project}", "gcloud logging read 'jsonPayload.metrics.dead_tokens:* AND jsonPayload.kind=\"leave\"' --freshness=1h --limit=20 --project=${var.project}"]
    }
    }, {
    for name in ["endpoints_disabled"] : name => {
      title    = "An endpoint gets no more events", severity = "ERROR", moving = false, duration = "0s"
      query    = "sum by (endpoint) (increase(${local.mails.endpoints_disabled}[30m])) > 0"
      text     = "It answered 410, or has failed for five days. What happens from now on is dropped for it, and counted; what failed before waits as dead letters. Ask its owner, then enable it and replay (docs/events-out.md)."
      commands = [".venv/bin/python -m ops events-out"]
    } if length(var.events_out) > 0
    }, {
    # "or vector(0)": a step that was never called has no series, and an alert on absence waits for a first one.
    for step in local.ticked : "tick_${step}" => {
      title    = "${step} does not run", severity = "CRITICAL", moving = true, duration = "0s"
      query    = "(sum(increase(${format(local.requests, local.service[step], "2xx")}[${local.thresholds.quiet * local.steps[step].every}m])) or vector(0)) < 1"
      text     = "No tick of ${step} has succeeded for ${local.thresholds.quiet * local.steps[step].every} minutes, so ${local.idle[step]}. After a first deployment it means that make bootstrap is still to be run. The next tick that succeeds catches up."
      commands = ["gcloud scheduler jobs describe tick-${local.service[step]} --location=${local.region} --project=${var.project}", "gcloud logging read 'resource.labels.service_name=\"${local.service[step]}\" AND severity>=WARNING' --freshness=1h --limit=20 --project=${var.project}"]
    }
  })
}

resource "google_monitoring_alert_policy" "this" {
  for_each              = local.alerts
  display_name          = "Subscriber Pipeline: ${each.value.title}"
  severity              = each.value.severity
  enabled               = !(var.paused && each.value.moving)
  combiner              = "OR"
  notification_channels = google_monitoring_notification_channel.email[*].name

  conditions {
    display_name = each.value.title
    condition_prometheus_query_language {
      query                     = each.value.query
      duration                  = each.value.duration
      evaluation_interval       = "60s"
      disable_metric_validation = true # a metric that nobody has written yet is unknown to Monitoring
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = "${each.value.text}\n\n${join("\n", formatlist("    %s", each.value.commands))}\n"
  }

  alert_strategy {
    auto_close = "86400s" # when there is no data any more; otherwise it closes as soon as the question is answered with no
  }

  depends_on = [google_logging_metric.this]
}

resource "google_monitoring_alert_policy" "health" {
  display_name          = "Subscriber Pipeline: The sign-up page cannot be reached"
  severity              = "CRITICAL"
  combiner              = "OR"
  notification_channels = google_monitoring_notification_channel.email[*].name

  conditions {
    display_name = "Two places or more get no good answer"
    condition_threshold {
      filter          = "resource.type=\"uptime_url\" AND metric.type=\"monitoring.googleapis.com/uptime_check/check_passed\" AND metric.labels.check_id=\"${google_monitoring_uptime_check_config.health.uptime_check_id}\""
      comparison      = "COMPARISON_GT"
      threshold_value = 1
      duration        = "0s"
      aggregations {
        alignment_period     = "1200s" # longer than the time between two checks
        per_series_aligner   = "ALIGN_NEXT_OLDER"
        cross_series_reducer = "REDUCE_COUNT_FALSE"
        group_by_fields      = ["resource.label.host"]
      }
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = <<-EOT
      From outside, the page does not answer with 200 and a store and a bus that are well. The answer names what is failing. No answer at all: look at the name and the certificate${var.domain == null ? "" : " (Load balancing in the console)"}.

          curl -i ${local.public_url}/subscribe/health
          gcloud logging read 'jsonPayload.message:"health:"' --freshness=1h --limit=20 --project=${var.project}
    EOT
  }

  alert_strategy {
    auto_close = "86400s"
  }
}
