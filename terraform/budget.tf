# A budget warns, it stops nothing. It counts this project alone, in the currency of the billing account.

resource "google_billing_budget" "monthly" {
  count           = var.budget == null ? 0 : 1
  provider        = google.billing
  billing_account = var.budget.billing_account
  display_name    = "Subscriber Pipeline (${var.project})"

  budget_filter {
    projects        = ["projects/${data.google_project.this.number}"] # by number: Google answers with numbers
    calendar_period = "MONTH"
  }

  amount {
    specified_amount {
      units = format("%d", floor(var.budget.amount))
    }
  }

  dynamic "threshold_rules" {
    for_each = [[0.5, "CURRENT_SPEND"], [1, "CURRENT_SPEND"], [1, "FORECASTED_SPEND"]]
    content {
      threshold_percent = threshold_rules.value[0]
      spend_basis       = threshold_rules.value[1]
    }
  }

  # Besides the billing account's own administrators and users.
  dynamic "all_updates_rule" {
    for_each = var.alert_email == null ? [] : [google_monitoring_notification_channel.email[0].name]
    content {
      monitoring_notification_channels = [all_updates_rule.value]
    }
  }

  depends_on = [google_project_service.api]
}
