# Secrets. What can be made up is made up here and written once, without passing through the state (ephemeral and write-only);
# what somebody else gives us is added by hand: README, "Going live". Rotation: docs/operations.md.

locals {
  # Those of the operator's own accounts and keys, which send_batch reads.
  own = concat([for one in var.mail_providers : "provider-${one.name}"], var.dkim == null ? [] : ["dkim-key"])

  # What the callbacks of providers are proved with, which webhooks reads.
  called = [for name in var.webhook_providers : "webhook-${name}"]

  # name => whether its first version is made up here
  secrets = merge({ for name in concat(local.own, local.called) : name => false }, {
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
