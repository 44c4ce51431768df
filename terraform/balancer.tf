# The load balancer, only with a domain of one's own: one name, one certificate and one address in front of the public steps, in every
# region that has them, and of the pictures in mails. Nothing else is reachable through it. Readers see exactly the paths of the twin.
#
# It adds itself to X-Forwarded-For, hence TRUSTED_HOPS = 2 in functions.tf.

locals {
  # public step => the functions that serve it, one a region; empty without a domain
  balanced = { for step in local.public : step => [for name, function in local.functions : name if function.step == step] if var.domain != null }
  front    = var.domain == null ? toset([]) : toset(["this"])
}

resource "google_compute_global_address" "this" {
  for_each   = local.front
  name       = "pipeline"
  depends_on = [google_project_service.api]
}

output "balancer_address" {
  description = "What the DNS A record of the domain has to say. The certificate is issued within an hour after that. Null without a domain."
  value       = one([for address in google_compute_global_address.this : address.address])
}

# --- The steps

resource "google_compute_region_network_endpoint_group" "step" {
  for_each              = { for name in flatten(values(local.balanced)) : name => local.functions[name] }
  name                  = local.service[each.value.step]
  region                = each.value.region
  network_endpoint_type = "SERVERLESS"
  cloud_run {
    service = google_cloudfunctions2_function.step[each.key].name # a function's service has its name
  }
}

# A request goes to the nearest region. There are no health checks for functions, and timeouts are the functions' own.
resource "google_compute_backend_service" "step" {
  for_each              = local.balanced
  name                  = local.service[each.key]
  load_balancing_scheme = "EXTERNAL_MANAGED"
  protocol              = "HTTPS"

  dynamic "backend" {
    for_each = each.value
    content {
      group = google_compute_region_network_endpoint_group.step[backend.value].id
    }
  }

  # A region that fails five times in a row is left alone for half a minute. With a single region there would be nowhere to go.
  dynamic "outlier_detection" {
    for_each = length(each.value) > 1 ? [5] : []
    content {
      consecutive_errors           = outlier_detection.value
      enforcing_consecutive_errors = 100
      max_ejection_percent         = 50 # never all of them
      interval {
        seconds = 1
      }
      base_ejection_time {
        seconds = 30
      }
    }
  }

  # Its log would hold each link's token, with the reader's address. Cloud Monitoring counts requests without it.
  log_config {
    enable = false
  }

  depends_on = [google_project_service.api]
}

# --- Pictures for mails

resource "google_compute_backend_bucket" "assets" {
  for_each    = local.front
  name        = "pipeline-assets"
  bucket_name = google_storage_bucket.assets.name # see storage.tf
  enable_cdn  = true
  cdn_policy {
    cache_mode  = "CACHE_ALL_STATIC"
    default_ttl = 86400 # a day, unless the file says otherwise
    client_ttl  = 86400
    max_ttl     = 2592000
  }
  depends_on = [google_project_service.api]
}

# --- Which path goes where

resource "google_compute_url_map" "public" {
  for_each = local.front
  name     = "pipeline"

  # Whoever asks for another host, or for the bare address, wakes no function.
  default_url_redirect {
    host_redirect          = var.domain
    path_redirect          = "/subscribe"
    https_redirect         = true
    redirect_response_code = "FOUND"
    strip_query            = true
  }

  host_rule {
    hosts        = [var.domain]
    path_matcher = "steps"
  }

  path_matcher {
    name            = "steps"
    default_service = google_compute_backend_service.step["subscribe"].id # its form at "/", its plain 404 elsewhere

    # A step sees what comes after its name: "/track/o/T" is "/o/T" to it, "/subscribe" is "/". It ignores slashes at either end.
    dynamic "path_rule" {
      for_each = google_compute_backend_service.step
      content {
        paths   = ["/${path_rule.key}", "/${path_rule.key}/*"]
        service = path_rule.value.id
        route_action {
          url_rewrite {
            path_prefix_rewrite = "/"
          }
        }
      }
    }

    # Not rewritten, so that only what lies under assets/ in the bucket is public at this name.
    path_rule {
      paths   = ["/assets/*"]
      service = google_compute_backend_bucket.assets[each.key].id
    }
  }
}

# http:// answers with https://, nothing more.
resource "google_compute_url_map" "https_only" {
  for_each = local.front
  name     = "pipeline-https-only"
  default_url_redirect {
    https_redirect         = true
    redirect_response_code = "MOVED_PERMANENTLY_DEFAULT"
    strip_query            = false
  }
  depends_on = [google_project_service.api]
}

# --- The front

# Google makes and renews it as soon as the domain points here. One for another domain has to exist before the old one can go.
resource "google_compute_managed_ssl_certificate" "this" {
  for_each = local.front
  name     = "pipeline-${substr(sha256(var.domain), 0, 8)}"
  managed {
    domains = [var.domain]
  }
  depends_on = [google_project_service.api]
  lifecycle {
    create_before_destroy = true
  }
}

resource "google_compute_ssl_policy" "this" {
  for_each        = local.front
  name            = "pipeline"
  profile         = "MODERN"
  min_tls_version = "TLS_1_2"
  depends_on      = [google_project_service.api]
}

resource "google_compute_target_https_proxy" "this" {
  for_each         = local.front
  name             = "pipeline"
  url_map          = google_compute_url_map.public[each.key].id
  ssl_certificates = [google_compute_managed_ssl_certificate.this[each.key].id]
  ssl_policy       = google_compute_ssl_policy.this[each.key].id
}

resource "google_compute_target_http_proxy" "this" {
  for_each = local.front
  name     = "pipeline"
  url_map  = google_compute_url_map.https_only[each.key].id
}

# IPv4 alone: every reader has it, and a second address would be two more rules to pay for.
resource "google_compute_global_forwarding_rule" "public" {
  for_each = var.domain == null ? {} : {
    https = { port = "443", target = google_compute_target_https_proxy.this["this"].id }
    http  = { port = "80", target = google_compute_target_http_proxy.this["this"].id }
  }
  name                  = "pipeline-${each.key}"
  load_balancing_scheme = "EXTERNAL_MANAGED"
  ip_address            = google_compute_global_address.this["this"].id
  ip_protocol           = "TCP"
  port_range            = each.value.port
  target                = each.value.target
}

# Its log would hold the tokens of links too. The steps' backend services do not write it, but a redirect and the bucket have no such
# switch. A sink of your own needs the same exclusion.
resource "google_logging_project_exclusion" "balancer_requests" {
  for_each    = local.front
  name        = "balancer-requests"
  description = "Requests to the load balancer: their URLs hold the tokens of links"
  filter = join("\n", [
    "log_id(\"requests\")",
    "resource.type=\"http_load_balancer\"",
    "resource.labels.forwarding_rule_name=(${join(" OR ", [for rule in values(google_compute_global_forwarding_rule.public) : "\"${rule.name}\""])})",
  ])
}
