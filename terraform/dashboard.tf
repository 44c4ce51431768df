# One page that says how the product does: mails first, then what waits, then the steps and what they stand on. A chart is a line here.

locals {
  a_minute = "sum(rate(%s[5m])) * 60"

  # In the order of the page, two a row. Each query is a line of its chart under that name; a name of "" leaves each line its labels.
  charts = [
    {
      title = "Mails a minute, by what became of them", unit = "mails", plot = "STACKED_BAR"
      queries = [for name in ["sent", "failed", "deferred", "unknown", "suppressed", "skipped", "cancelled"] :
      [name, format(local.a_minute, local.mails["mails_${name}"])]]
    },
    {
      title = "The mail provider: from handing over a window of mails to its last answer", unit = "ms", plot = "LINE"
      queries = [for name, share in { "half within" = "0.5", "95% within" = "0.95" } :
      [name, "histogram_quantile(${share}, sum by (le) (rate(${format(local.logged.provider_latency, "_bucket")}[15m])))"]]
    },
    {
      title = "How long messages wait before a step handles them", unit = "seconds", plot = "LINE"
      queries = concat([for name, share in { "half within" = "0.5", "95% within" = "0.95" } :
        [name, "histogram_quantile(${share}, sum by (le) (rate(${format(local.logged.push_lag, "_bucket")}[15m]))) / 1000"]],
      [["oldest of all", "max(${format(local.messages, "oldest_unacked_message_age", local.push_names)})"]])
    },
    {
      title   = "Dead letters: messages given up, to be replayed", unit = "messages", plot = "STACKED_AREA"
      queries = [for name in keys(local.subscriptions) : [name, "max(${format(local.messages, "num_undelivered_messages", "${name}-dead")})"]]
    },
    {
      title   = "Requests a minute, by step and answer", unit = "requests", plot = "STACKED_AREA"
      queries = [["", "sum by (service_name, response_code_class) (rate(${format(local.requests, ".*", ".*")}[5m])) * 60"]]
    },
    {
      title   = "Errors of ours (5xx) a minute, by step", unit = "requests", plot = "STACKED_BAR"
      queries = [for step in keys(local.deployed) : [step, format(local.a_minute, format(local.requests, local.service[step], "5xx"))]]
    },
    {
      title   = "Instances, by step", unit = "instances", plot = "STACKED_AREA"
      queries = [["", "sum by (service_name) (run_googleapis_com:container_instance_count{monitored_resource=\"cloud_run_revision\"})"]]
    },
    {
      title = "Firestore documents a minute: what is paid for", unit = "documents", plot = "LINE"
      queries = [for name in ["read", "write", "delete"] :
      [name, format(local.a_minute, "firestore_googleapis_com:document_${name}_count{monitored_resource=\"firestore_instance\"}")]]
    },
    {
      title   = "Rows of the Import tab a minute", unit = "rows", plot = "STACKED_BAR"
      queries = [for name in ["accepted", "rejected"] : [name, format(local.a_minute, local.mails["import_${name}"])]]
    },
    {
      title = "Knocks a minute that were turned away, and batches brought back", unit = "1", plot = "LINE"
      queries = [for title, name in { "calls without a proof" = "refused", "links that do not work" = "dead_tokens", "batches brought back" = "swept_batches" } :
      [title, format(local.a_minute, local.mails[name])]]
    },
  ]
}

resource "google_monitoring_dashboard" "this" {
  dashboard_json = jsonencode({
    displayName = "Subscriber Pipeline"
    mosaicLayout = {
      columns = 48
      tiles = [for index, chart in local.charts : merge(
        { width = 24, height = 16 },
        # Google leaves a zero out of its answer, and every plan would want to put it back.
        { for axis, place in { xPos = index % 2 * 24, yPos = floor(index / 2) * 16 } : axis => place if place > 0 },
        { widget = {
          title = chart.title
          xyChart = {
            chartOptions = { mode = "COLOR" }
            yAxis        = { label = chart.unit, scale = "LINEAR" }
            dataSets = [for query in chart.queries : merge(
              {
                plotType        = chart.plot
                targetAxis      = "Y1"
                timeSeriesQuery = { prometheusQuery = query[1] }
              },
              { for text in slice(query, 0, 1) : "legendTemplate" => text if text != "" },
            )]
          }
        } },
      )]
    }
  })
  depends_on = [google_logging_metric.this]
}
