# The map of the functions, in the order of the flow. README's table, the topics, the accounts and their rights all follow from it.
#
#   wanted       whether it is deployed; left out: always
#   trigger      http: anybody; tick: Cloud Scheduler; a topic's name: Pub/Sub pushes its messages
#   every        of a tick: minutes from one to the next
#   store        what it does with Firestore's documents: get, list (pages and counts), create, update, delete
#   objects      what it does with the files in the bucket: create, get, list, delete
#   publishes    topics
#   secrets      names in Secret Manager
#   env          settings of its own; those that several have are added below
#   concurrency  requests at a time in an instance; max, min: instances. cpu: of an instance
#   timeout      seconds. send_batch begins no window after 48 of them, but ends the one that it has begun, however slow the server;
#                live ends a stream after 240, and keeps room for pages beside its 200 streams (docs/live.md)
locals {
  steps = {
    subscribe = {
      trigger   = "http"
      store     = ["get", "create", "update", "delete"]
      objects   = []
      publishes = ["send-requests"]
      secrets   = ["pepper", "signing-key"] # and that of local.given
      env       = {}
      timeout   = 30, memory = "512Mi", cpu = "1", concurrency = 80, min = 0, max = 10
    }
    launch = {
      trigger   = "tick"
      every     = 1
      store     = ["get", "list", "create", "update"]
      objects   = ["create", "get", "list"]
      publishes = ["privacy-requests", "send-requests"]
      secrets   = ["pepper", "signing-key"]
      env = {
        PROVIDERS     = jsonencode(var.mail_providers)
        BOUNCE_DOMAIN = var.bounce_domain == null ? "" : var.bounce_domain
        DKIM_DOMAIN   = try(var.dkim.domain, "")
        DKIM_SELECTOR = try(var.dkim.selector, "")
        ASSETS_BUCKET = local.assets_bucket
        ASSETS_URL    = "${local.assets_url}/assets"
      }
      timeout = 170, memory = "1Gi", cpu = "1", concurrency = 1, min = 0, max = 2
    }
    send_batch = {
      trigger   = "send-requests"
      store     = ["get", "list", "create", "update"]
      objects   = ["get", "list"]
      publishes = ["engagement-events", "send-requests"]
      secrets   = ["signing-key"] # and those of local.given
      env = {
        PROVIDERS     = jsonencode(var.mail_providers)
        BOUNCE_DOMAIN = var.bounce_domain == null ? "" : var.bounce_domain
        DKIM_DOMAIN   = try(var.dkim.domain, "")
        DKIM_SELECTOR = try(var.dkim.selector, "")
      }
      timeout = 300, memory = "512Mi", cpu = "1", concurrency = 8, min = 0, max = 10
    }
    track = {
      trigger   = "http"
      store     = []
      objects   = []
      publishes = ["engagement-events"]
      secrets   = ["signing-key"]
      env       = { CONVERSION_DOMAINS = join(",", var.conversion_domains) }
      timeout   = 15, memory = "512Mi", cpu = "1", concurrency = 250, min = 0, max = 10
    }
    live = {
      trigger   = "http"
      store     = ["get", "list"]
      objects   = []
      publishes = []
      secrets   = ["signing-key"]
      env       = {}
      timeout   = 300, memory = "512Mi", cpu = "1", concurrency = 250, min = 0, max = 3
    }
    archive = {
      trigger   = "http"
      store     = ["get"]
      objects   = ["get", "list"]
      publishes = []
      secrets   = ["signing-key"]
      env       = {}
      timeout   = 30, memory = "512Mi", cpu = "1", concurrency = 80, min = 0, max = 3
    }
    webhooks = {
      trigger   = "http"
      store     = ["get", "create"]
      objects   = ["get", "create"]
      publishes = ["engagement-events"]
      secrets   = ["signing-key", "webhook-generic"] # and those of local.given
      env       = {}
      timeout   = 15, memory = "512Mi", cpu = "1", concurrency = 80, min = 0, max = 10
    }
    inbox = {
      wanted    = var.inbox != null
      trigger   = "tick"
      every     = 5
      store     = []
      objects   = []
      publishes = ["engagement-events"]
      secrets   = ["signing-key"] # and that of local.given
      env = {
        IMAP_HOST     = try(var.inbox.host, "")
        IMAP_PORT     = try(tostring(var.inbox.port), "")
        IMAP_USER     = try(var.inbox.user, "")
        IMAP_FOLDER   = try(var.inbox.folder, "")
        IMAP_SECURITY = try(var.inbox.security, "")
      }
      timeout = 120, memory = "512Mi", cpu = "1", concurrency = 1, min = 0, max = 2
    }
    unsubscribe = {
      trigger   = "http"
      store     = ["get", "list", "create", "update"]
      objects   = []
      publishes = ["engagement-events", "privacy-requests", "send-requests"]
      secrets   = ["pepper", "signing-key"]
      env       = {}
      timeout   = 30, memory = "512Mi", cpu = "1", concurrency = 80, min = 0, max = 10
    }
    record = {
      trigger   = "engagement-events"
      store     = ["get", "create", "update"]
      objects   = []
      publishes = []
      secrets   = []
      env       = {}
      timeout   = 60, memory = "512Mi", cpu = "1", concurrency = 80, min = 0, max = 10
    }
    notify = {
      wanted    = length(var.events_out) > 0
      trigger   = "engagement-events"
      store     = ["get", "create", "update"]
      objects   = []
      publishes = []
      secrets   = [] # but those of local.given
      env       = { EVENTS_OUT = jsonencode(var.events_out) }
      timeout   = 60, memory = "512Mi", cpu = "1", concurrency = 250, min = 0, max = 10
    }
    report = {
      trigger   = "tick"
      every     = 5
      store     = ["get", "list", "create", "update"]
      objects   = []
      publishes = []
      secrets   = []
      env       = {}
      timeout   = 170, memory = "1Gi", cpu = "1", concurrency = 1, min = 0, max = 2
    }
    privacy = {
      trigger   = "privacy-requests"
      store     = ["get", "list", "create", "update", "delete"]
      objects   = ["list", "delete"]
      publishes = []
      secrets   = []
      env       = { RETENTION_DAYS = tostring(var.retention_days) }
      timeout   = 170, memory = "512Mi", cpu = "1", concurrency = 1, min = 0, max = 2
    }
    sync_sheet = {
      trigger   = "tick"
      every     = 1
      store     = ["get", "list", "create", "update"]
      objects   = []
      publishes = []
      secrets   = ["pepper"]
      env       = {}
      timeout   = 170, memory = "1Gi", cpu = "1", concurrency = 1, min = 0, max = 2
    }
  }

  region   = var.regions[0]
  deployed = { for step, given in local.steps : step => given if try(given.wanted, true) }
  public   = toset([for step, given in local.deployed : step if given.trigger == "http"])
  ticked   = toset([for step, given in local.deployed : step if given.trigger == "tick"])
  pushed   = { for step, given in local.deployed : step => given.trigger if !contains(["http", "tick"], given.trigger) }
  private  = setunion(local.ticked, keys(local.pushed))
  service  = { for step in keys(local.deployed) : step => replace(step, "_", "-") } # the name of its function and of its Cloud Run service

  # One function a step, and each public one once more in every further region.
  functions = merge(
    { for step in keys(local.deployed) : step => { step = step, region = local.region } },
    { for pair in setproduct(local.public, slice(var.regions, 1, length(var.regions))) : "${pair[0]}@${pair[1]}" => { step = pair[0], region = pair[1] } },
  )

  # Where a private step is called; known before it exists, because its own settings name it.
  # https://cloud.google.com/run/docs/triggering/https-request#deterministic
  endpoint   = { for step in local.private : step => "https://${local.service[step]}-${data.google_project.this.number}.${local.region}.run.app" }
  public_url = var.domain == null ? "https://${local.region}-${var.project}.cloudfunctions.net" : "https://${var.domain}"
  # Without a domain Cloud Storage itself shows the pictures of mails; with one the load balancer does, and keeps copies near readers.
  assets_bucket = "${var.project}-assets" # named here, or all that is made for a step would wait for it
  assets_url    = var.domain == null ? "https://storage.googleapis.com/${local.assets_bucket}" : local.public_url

  env = { for step, given in local.deployed : step => merge(
    {
      FUNCTION_USE_ASGI    = "1"
      LOG_EXECUTION_ID     = "false" # the framework would write its own span over ours
      STACK                = "google"
      TENANT               = var.tenant
      PUBLIC_URL           = local.public_url
      GOOGLE_CLOUD_PROJECT = var.project
    },
    # X-Forwarded-For ends in the caller, as Google's front end saw it; a load balancer adds itself.
    given.trigger == "http" ? { TRUSTED_HOPS = var.domain == null ? "1" : "2" } : {
      PUSH_AUTH                              = "iam"
      PUSH_ISSUER                            = "https://accounts.google.com"
      PUSH_AUDIENCE                          = local.endpoint[step]
      PUSH_EMAIL                             = google_service_account.caller[step].email
    },
    length(given.store) == 0 ? {} : { FIRESTORE_DATABASE = google_firestore_database.this.name },
    length(given.objects) == 0 ? {} : { BUCKET = google_storage_bucket.objects.name },
    given.env,
  ) }
}

# Named after what is in it: a step whose files did not change is not built again. `make stage` makes the archives.
resource "google_storage_bucket_object" "source" {
  for_each = local.deployed
  bucket   = google_storage_bucket.sources.name
  name     = "${each.key}-${filesha256("${path.module}/../build/${each.key}.zip")}.zip"
  source   = "${path.module}/../build/${each.key}.zip"
}

resource "google_cloudfunctions2_function" "step" {
  for_each    = local.functions
  name        = local.service[each.value.step]
  location    = each.value.region
  description = "Subscriber Pipeline: ${each.value.step}"

  build_config {
    runtime           = "python312"
    entry_point       = each.value.step
    service_account   = google_service_account.builder.id
    docker_repository = google_artifact_registry_repository.images[each.value.region].id
    source {
      storage_source {
        bucket = google_storage_bucket.sources.name
        object = google_storage_bucket_object.source[each.value.step].name
      }
    }
  }

  service_config {
    service_account_email            = google_service_account.step[each.value.step].email
    timeout_seconds                  = local.steps[each.value.step].timeout
    available_memory                 = local.steps[each.value.step].memory
    available_cpu                    = local.steps[each.value.step].cpu
    max_instance_request_concurrency = local.steps[each.value.step].concurrency
    min_instance_count               = local.steps[each.value.step].min
    max_instance_count               = local.steps[each.value.step].max
    environment_variables            = local.env[each.value.step]
    ingress_settings = (
      contains(local.private, each.value.step) ? "ALLOW_INTERNAL_ONLY" : var.domain == null ? "ALLOW_ALL" : "ALLOW_INTERNAL_AND_GCLB"
    )
    all_traffic_on_latest_revision = !contains(var.hold, each.value.step)
  }

  # A function without its rights would answer its first callers with errors.
  depends_on = [
    google_project_service.api,
    google_artifact_registry_repository_iam_member.builder,
    google_project_iam_member.builder,
    google_project_iam_member.store,
    google_pubsub_topic_iam_member.publisher,
    google_secret_manager_secret_iam_member.reader,
    google_project_iam_member.sources,
    google_storage_bucket_iam_member.objects,
    google_storage_bucket_iam_member.pictures,
  ]
}

# Anybody may call a public step. A private one is called by one account alone (identities.tf), and not from outside.
resource "google_cloud_run_v2_service_iam_member" "anybody" {
  for_each = { for name, function in local.functions : name => function if contains(local.public, function.step) }
  name     = google_cloudfunctions2_function.step[each.key].name
  location = each.value.region
  role     = "roles/run.invoker"
  member   = "allUsers"
}

resource "google_cloud_run_v2_service_iam_member" "caller" {
  for_each = local.private
  name     = google_cloudfunctions2_function.step[each.key].name
  location = local.region
  role     = "roles/run.invoker"
  member   = google_service_account.caller[each.key].member
}
