# Secrets. What can be made up is made up here and written once, without passing through the state (ephemeral and write-only);
# what somebody else gives us is added by hand: README, "Going live". Rotation: docs/operations.md.

locals {
  # What the operator has from somebody else, or made: name => the step that reads it.
  given = merge(
    { for one in var.mail_providers : "provider-${one.name}" => "send_batch" },
    { for _ in var.dkim[*] : "dkim-key" => "send_batch" },
    { for name in var.webhook_providers : "webhook-${name}" => "webhooks" }, # what callbacks are proved with
    { for _ in var.inbox[*] : "imap-password" => "inbox" },
    { for name in ["captcha-secret"] : name => "subscribe" if var.captcha }, # what the CAPTCHA's provider gave beside the site key
    { for one in var.events_out : "events-out-${one.name}" => "notify" },    # what posts are signed with
  )

  # name => whether its first version is made up here
  secrets = merge({ for name in keys(local.given) : name => false }, {
    pepper          = true # turns an address into a subscriber's id: it can never change
    signing-key     = true # signs the links in mails
    webhook-generic = true # the other side has to be told: gcloud secrets versions access
  })
}

ephemeral "random_password" "made_up" {
  for_each = { for name, made_up in local.secrets : name => made_up if made_up }
  length   = 64
  special  = false
}

resource "google_secret_manager_secret" "this" {
  for_each            = local.secrets
  secret_id           = each.key
  deletion_protection = true
  version_destroy_ttl = "2592000s" # a version that somebody destroys is only disabled for 30 days
  replication {
    auto {}
  }
  depends_on = [google_project_service.api]

  # Without the pepper every suppression and every subscriber would be a stranger's.
  lifecycle {
    prevent_destroy = true
  }
}

resource "google_secret_manager_secret_version" "first" {
  for_each               = { for name, made_up in local.secrets : name => made_up if made_up }
  secret                 = google_secret_manager_secret.this[each.key].id
  secret_data_wo         = ephemeral.random_password.made_up[each.key].result
  secret_data_wo_version = 1 # another number would write another version: rotation is by hand

  lifecycle {
    prevent_destroy = true
  }
}
