output "public_url" {
  description = "Where the public pages are; every link in a mail begins with it."
  value       = local.public_url
}

output "tenant" {
  description = "Id of the tenant's document."
  value       = var.tenant
}

output "firestore_database" {
  description = "Id of the database."
  value       = var.firestore_database
}

output "share_with" {
  description = "Accounts that the Sheet and the template folder are shared with: sync_sheet writes the Sheet, launch reads it, and both read the folder."
  value       = { for step in ["launch", "sync_sheet"] : step => google_service_account.step[step].email }
}

output "endpoints" {
  description = "Where the private steps are called."
  value       = local.endpoint
}
