"""What may be taken out of terraform/ unnoticed, and why. An entry that nothing needs fails a test (test_mutants.py)."""

from __future__ import annotations

from collections.abc import Mapping

# the whole name of a piece, as a regular expression -> why
EXEMPT: Mapping[str, str] = {
    r"resource\..*\.(description|display_name|displayName)": "text for people",
    r"provider\.google\.default_labels(\.product)?": "a label, for the bill",
    r"locals\.alerts\.(\w+\.)?commands\.\d": "a command less in an alert's text",
    r"locals\.charts\..*": "a picture; the checks ask that what is drawn exists",
    r"resource\.google_monitoring_dashboard\.this\.dashboard_json\..*": "a picture; the checks ask for JSON with tiles",
    r"resource\.google_monitoring_uptime_check_config\.health\.selected_regions\.\w+": "Europe's places do for every continent",
    r"resource\.google_cloudfunctions2_function\.step\.service_config\.min_instance_count": "0 is the default too",
    r"resource\.google_cloud_scheduler_job\.tick\.region": "the provider's region is the same",
    r"data\.google_project\.this\.project_id": "the provider's project is the same",
    r"resource\.google_(compute_backend_\w+\.\w+|billing_budget\.monthly)\.depends_on(\.0)?": "it waits for the APIs by what it refers to",
    r"resource\.google_cloudfunctions2_function\.step\.depends_on\.0": "it waits for the APIs by what it refers to",
}
