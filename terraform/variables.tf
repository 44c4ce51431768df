# What an operator decides; terraform.tfvars.example shows a filled form. Everything else is in locals beside what it is about.

variable "project" {
  description = "Id of the Google Cloud project, which needs a billing account. Example: lumen-mail"
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "A project id has 6 to 30 lowercase letters, digits and hyphens, and begins with a letter."
  }
}

variable "regions" {
  description = "Where the functions run. The first one holds all of them; the public ones also run in the others, behind the load balancer. Example: [\"europe-west1\"]"
  type        = list(string)
  default     = ["europe-west1"]
  validation {
    condition     = length(var.regions) > 0 && length(var.regions) == length(distinct(var.regions)) && alltrue([for region in var.regions : can(regex("^[a-z]+-[a-z]+[0-9]{1,2}$", region))])
    error_message = "Name at least one region, each once, as in europe-west1."
  }
}

variable "domain" {
  description = "Host name of every link in a mail, served by a global load balancer (about $18 a month). Null: the functions' own host, without a load balancer, one region. Example: news.lumen-coffee.com"
  type        = string
  default     = null
  validation {
    condition     = var.domain == null || can(regex("^([a-z0-9]([a-z0-9-]*[a-z0-9])?\\.)+[a-z]{2,}$", coalesce(var.domain, "x")))
    error_message = "A bare host name in lowercase, without https:// and without a slash."
  }
  validation {
    condition     = var.domain != null || length(var.regions) == 1
    error_message = "More than one region needs a domain: the load balancer in front of them answers under that name."
  }
}

variable "firestore_location" {
  description = "Where Firestore and the buckets keep data; it can never be changed. A region beside the functions (europe-west1), or a multi-region: eur3, nam5."
  type        = string
  default     = "eur3"
  validation {
    condition     = can(regex("^(eur3|nam5|nam7|[a-z]+-[a-z]+[0-9]{1,2})$", var.firestore_location))
    error_message = "A region, as in europe-west1, or one of the multi-regions eur3, nam5, nam7."
  }
}

variable "firestore_database" {
  description = "Id of the database. Another one than (default) after a restore: docs/operations.md."
  type        = string
  default     = "(default)"
  validation {
    condition     = var.firestore_database == "(default)" || can(regex("^[a-z][a-z0-9-]{2,61}[a-z0-9]$", var.firestore_database))
    error_message = "(default), or 4 to 63 lowercase letters, digits and hyphens, beginning with a letter."
  }
}

variable "tenant" {
  description = "Id of the tenant's document in Firestore, as given to make bootstrap."
  type        = string
  default     = "main"
  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{0,30}$", var.tenant))
    error_message = "Lowercase letters, digits and hyphens, 31 at most."
  }
}

variable "mail_providers" {
  description = "The ways out for mail, the preferred first. kind: smtp, ses, sendgrid, postmark, mailgun or mandrill; options: docs/adding-a-provider.md. The key or password of each is not here but in the secret provider-NAME. weight 0 stands by; rate is mails a second, daily a day, 0 for no limit; domains and engaged (any, engaged, lapsed) choose whom it takes; warm_up is its first day (2026-12-01) while its reputation grows."
  type = list(object({
    name    = string
    kind    = string
    options = optional(map(string), {})
    weight  = optional(number, 1)
    rate    = optional(number, 0)
    daily   = optional(number, 0)
    domains = optional(list(string), [])
    engaged = optional(string, "any")
    warm_up = optional(string)
  }))
  validation {
    condition     = length(var.mail_providers) > 0 && length(distinct(var.mail_providers[*].name)) == length(var.mail_providers)
    error_message = "At least one, each with a name of its own."
  }
  validation {
    condition     = alltrue([for one in var.mail_providers : can(regex("^[a-z0-9][a-z0-9-]{0,29}$", one.name))])
    error_message = "A name is lowercase letters, digits and hyphens, 30 at most."
  }
  validation {
    condition     = alltrue([for one in var.mail_providers : contains(["smtp", "ses", "sendgrid", "postmark", "mailgun", "mandrill"], one.kind)])
    error_message = "kind is smtp, ses, sendgrid, postmark, mailgun or mandrill."
  }
  validation {
    condition     = alltrue([for one in var.mail_providers : contains(["starttls", "tls"], lookup(one.options, "security", "starttls"))])
    error_message = "security is starttls (port 587) or tls (port 465): a password never travels in the clear."
  }
  validation {
    condition     = alltrue([for one in var.mail_providers : one.kind != "smtp" || (can(regex("^[A-Za-z0-9.-]+\\.[A-Za-z0-9-]+$", lookup(one.options, "host", ""))) && can(regex("^[1-9][0-9]{1,4}$", lookup(one.options, "port", "587"))) && lookup(one.options, "port", "587") != "25")])
    error_message = "smtp needs the option host, a host name; Google Cloud lets nothing out on port 25, so take 587, 465 or 2525."
  }
  validation {
    condition     = alltrue([for one in var.mail_providers : contains(["any", "engaged", "lapsed"], one.engaged) && one.weight >= 0 && one.rate >= 0 && one.daily >= 0])
    error_message = "engaged is any, engaged or lapsed; weight, rate and daily are not negative."
  }
  validation {
    condition     = alltrue([for one in var.mail_providers : one.warm_up == null || can(formatdate("YYYY", "${coalesce(one.warm_up, "x")}T00:00:00Z"))])
    error_message = "warm_up is a day, such as 2026-12-01."
  }
}

variable "webhook_providers" {
  description = "Who tells what became of mails, besides generic, which is always there; inbound takes whole bounces from a mail server (docs/bounces.md). What each proves its callbacks with goes into the secret webhook-NAME (docs/operations.md)."
  type        = list(string)
  default     = []
  validation {
    condition     = alltrue([for name in var.webhook_providers : contains(["brevo", "inbound", "mailgun", "mailjet", "mandrill", "postmark", "resend", "sendgrid", "ses", "sparkpost", "twilio"], name)])
    error_message = "Each is brevo, inbound, mailgun, mailjet, mandrill, postmark, resend, sendgrid, ses, sparkpost or twilio."
  }
}

variable "events_out" {
  description = "Whom every event of a mail is posted to (docs/events-out.md): name, an https url, which types and whose campaigns' (empty: all). What each is signed with goes into the secret events-out-NAME. Empty: nobody, and nothing of it is deployed."
  type = list(object({
    name      = string
    url       = string
    types     = optional(list(string), [])
    campaigns = optional(list(string), [])
  }))
  default = []
  validation {
    condition     = length(distinct(var.events_out[*].name)) == length(var.events_out)
    error_message = "Each has a name of its own."
  }
  validation {
    condition     = alltrue([for one in var.events_out : can(regex("^[a-z0-9][a-z0-9-]{0,29}$", one.name)) && !endswith(one.name, "-dead")])
    error_message = "A name is lowercase letters, digits and hyphens, 30 at most, and does not end in -dead."
  }
  validation {
    condition     = alltrue([for one in var.events_out : can(regex("^https://[A-Za-z0-9.-]+(:[1-9][0-9]{0,4})?([/?][!\"$-~]*)?$", one.url))])
    error_message = "url is an https:// address without a user, a password or a fragment."
  }
  validation {
    condition     = alltrue([for type in flatten(var.events_out[*].types) : contains(["mail.delivered", "mail.deferred", "mail.opened", "mail.clicked", "mail.bounced", "mail.complained", "mail.unsubscribed", "mail.converted", "mail.unknown"], type)])
    error_message = "types are mail.delivered, mail.deferred, mail.opened, mail.clicked, mail.bounced, mail.complained, mail.unsubscribed, mail.converted and mail.unknown."
  }
  validation {
    condition     = alltrue([for id in flatten(var.events_out[*].campaigns) : can(regex("^[A-Za-z0-9][A-Za-z0-9-]{0,39}$", id))])
    error_message = "campaigns are ids, such as C-0001."
  }
}

variable "inbox" {
  description = "The mailbox that bounces come to, read by IMAP every five minutes (docs/bounces.md). security: tls (port 993), or starttls (mostly 143). The password goes into the secret imap-password. Null: none is read, and nothing of it is deployed."
  type = object({
    host     = string
    port     = optional(number, 993)
    user     = string
    folder   = optional(string, "INBOX")
    security = optional(string, "tls")
  })
  default = null
  validation {
    condition     = var.inbox == null || can(regex("^[A-Za-z0-9.-]+\\.[A-Za-z0-9-]+$", var.inbox.host)) && try(var.inbox.port >= 1 && var.inbox.port <= 65535, false)
    error_message = "host is a host name, such as imap.lumen-coffee.com, and port a number to 65535."
  }
  validation {
    condition     = var.inbox == null || can(regex("^[ -~]+\n[ -~]+$", "${var.inbox.user}\n${var.inbox.folder}"))
    error_message = "user and folder are ASCII, a folder's name in modified UTF-7 (RFC 3501 5.1.3)."
  }
  validation {
    condition     = var.inbox == null || try(contains(["tls", "starttls"], var.inbox.security), false)
    error_message = "security is tls or starttls: a password never travels in the clear."
  }
}

variable "captcha" {
  description = "Whether the Settings tab names a CAPTCHA: its secret goes into the secret captcha-secret (docs/sign-up.md)."
  type        = bool
  default     = false
}

variable "conversion_domains" {
  description = "The sites that tell of conversions, with their subdomains (docs/tracking.md): a click to one carries its mail's token."
  type        = list(string)
  default     = []
  validation {
    condition     = alltrue([for name in var.conversion_domains : can(regex("^[a-z0-9.-]+\\.[a-z0-9-]+$", name))])
    error_message = "A domain, such as shop.lumen-coffee.com, without https:// and path."
  }
}

variable "retention_days" {
  description = "What is noted of each mail (opens, clicks, bounces) is kept so long after its campaign has ended, of a confirmation and the like after it was first heard of; the sums stay. 0: for ever."
  type        = number
  default     = 730
  validation {
    condition     = var.retention_days == 0 || (var.retention_days >= 30 && var.retention_days == floor(var.retention_days))
    error_message = "Whole days: 0, or 30 and more."
  }
}

variable "dkim" {
  description = "Signs what leaves by SMTP, for servers that do not sign themselves: the domain, and the selector whose public key stands in its DNS. The private key (PEM) goes into the secret dkim-key. Null: not signed by us."
  type = object({
    domain   = string
    selector = string
  })
  default = null
  validation {
    condition     = var.dkim == null || can(regex("^[a-z0-9.-]+\\.[a-z0-9-]+ [a-z0-9][a-z0-9.-]*$", "${var.dkim.domain} ${var.dkim.selector}"))
    error_message = "A domain, such as news.lumen-coffee.com, and a selector, such as s1."
  }
}

variable "bounce_domain" {
  description = "The domain of return paths that tell whose mail bounced; its MX must be a mailbox that you read. Null: bounces go to the From address."
  type        = string
  default     = null
  validation {
    condition     = var.bounce_domain == null || can(regex("^[a-z0-9.-]+\\.[a-z0-9-]+$", coalesce(var.bounce_domain, "x")))
    error_message = "A domain, such as bounces.lumen-coffee.com."
  }
}

variable "paused" {
  description = "true stops everything that moves by itself: no tick runs, no push is delivered; sign-ups, clicks and unsubscribes are still taken, and wait."
  type        = bool
  default     = false
}

variable "alert_email" {
  description = "Who is told when something is wrong. Null: nobody, the alerts only show in the console."
  type        = string
  default     = null
  validation {
    condition     = var.alert_email == null || can(regex("^[^@ ]+@[^@ ]+\\.[^@ ]+$", coalesce(var.alert_email, "x")))
    error_message = "An e-mail address."
  }
}

variable "budget" {
  description = "A monthly budget in the billing account's currency, with mails at half, at all of it, and when the forecast exceeds it. Null: none. billing_account as in 012345-6789AB-CDEF01."
  type = object({
    billing_account = string
    amount          = number
  })
  default = null
  validation {
    condition     = var.budget == null || can(regex("^[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}$", var.budget.billing_account)) && try(var.budget.amount >= 1, false)
    error_message = "billing_account as in 012345-6789AB-CDEF01, and an amount of at least 1."
  }
}

variable "bigquery" {
  description = "true writes every engagement event into a BigQuery table as well, for questions of your own (docs/analytics.md)."
  type        = bool
  default     = false
}

variable "repository" {
  description = "A repository that Cloud Build is connected to (2nd generation): projects/P/locations/R/connections/C/repositories/N. Each push to main then deploys. Null: no trigger."
  type        = string
  default     = null
  validation {
    condition     = var.repository == null || can(regex("^projects/[^/]+/locations/[^/]+/connections/[^/]+/repositories/[^/]+$", coalesce(var.repository, "x")))
    error_message = "The full name: projects/P/locations/R/connections/C/repositories/N."
  }
}

variable "state_bucket" {
  description = "The bucket of the Terraform state, which Cloud Build's deployer may then read and write. Needed with repository."
  type        = string
  default     = null
  validation {
    condition     = var.repository == null || var.state_bucket != null
    error_message = "A repository's trigger runs Terraform, which needs the state_bucket."
  }
}

variable "smoke_address" {
  description = "An address of yours that a deployment signs up (with +smoke-… before the @) to see that a mail goes out. Null: that check is left out."
  type        = string
  default     = null
  validation {
    condition     = var.smoke_address == null || can(regex("^[^@+ ]+@[^@ ]+\\.[^@ ]+$", coalesce(var.smoke_address, "x")))
    error_message = "An e-mail address without a +."
  }
}

variable "hold" {
  description = "Steps whose new revision gets no traffic yet; only for a deployment that shifts traffic itself (cloudbuild.yaml)."
  type        = set(string)
  default     = []
  validation {
    condition     = length(setsubtract(var.hold, keys(local.steps))) == 0
    error_message = "Not a step."
  }
}
