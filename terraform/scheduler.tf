# The ticks: each private step without a topic is called every so many minutes. Two at once are harmless, so is one that is missed.

resource "google_cloud_scheduler_job" "tick" {
  for_each         = local.ticked
  name             = "tick-${local.service[each.key]}"
  region           = local.region
  schedule         = "*/${local.steps[each.key].every} * * * *"
  time_zone        = "Etc/UTC"
  paused           = var.paused
  attempt_deadline = "${local.steps[each.key].timeout + 10}s" # longer than the function may take

  retry_config {
    retry_count = 0 # the next tick is the retry
  }

  http_target {
    http_method = "POST"
    uri         = local.endpoint[each.key]
    oidc_token {
      service_account_email = google_service_account.caller[each.key].email
      audience              = local.endpoint[each.key]
    }
  }

  depends_on = [google_cloud_run_v2_service_iam_member.caller]
}
