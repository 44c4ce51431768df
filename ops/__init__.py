"""The operator's tools for a product deployed on Google Cloud: nothing here is deployed, and no step imports it."""
